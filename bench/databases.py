"""The databases of the benchmarks, each in a process of its own: both services have one package name."""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

TEMPLATE = Path(__file__).parents[1]
sys.path.insert(0, str(TEMPLATE))

from tests.support.generate import generate  # noqa: E402
from tests.support.postgresql import FAST, INSTALLED, running_cluster  # noqa: E402

Case = Callable[[], object]


def run_for_each_database(
    program: str, measure: Callable[[str, Callable[[str], str]], None]
) -> None:
    """Call `measure` with the database that is the program's argument, and a function for URLs.

    Without an argument, run the program with each database, and report one that is not installed.
    """
    if sys.argv[1:]:
        with service_on(sys.argv[1]) as new_url:
            measure(sys.argv[1], new_url)
        return
    for database in ("sqlite", "postgresql"):
        if database == "postgresql" and not INSTALLED:
            print("\nnot measured: PostgreSQL, because it is not installed")
            continue
        subprocess.run([sys.executable, program, database], check=True)


@contextmanager
def service_on(database: str) -> Iterator[Callable[[str], str]]:
    """Make a service on this database importable; yield a function that returns a new URL.

    PostgreSQL listens on a unix socket. No commit waits for the disk.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        project = generate(directory, {"database": database})
        sys.path.insert(0, str(project / "src"))
        if database == "sqlite":
            yield lambda name: f"sqlite:///{directory}/{name}.sqlite3"
        else:
            cluster = stack.enter_context(running_cluster(*FAST))
            yield lambda _name: cluster.url(cluster.create_database())


@contextmanager
def stderr_dropped() -> Iterator[None]:
    """Write standard error, where the access lines go, to /dev/null meanwhile."""
    kept, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(devnull)


class Rounds:
    """The seconds of a call of each case, measured in each round.

    The order is a new one in each round, because a case leaves the processor's caches to the next one.
    """

    def __init__(self, cases: Mapping[str, Case], rounds: int, calls: int) -> None:
        def timed(case: Case) -> float:
            begun = time.perf_counter()
            for _ in range(calls):
                case()
            return (time.perf_counter() - begun) / calls

        with stderr_dropped():
            for case in cases.values():
                case()
            order = list(cases)
            self._rounds: list[dict[str, float]] = []
            for _ in range(rounds):
                random.shuffle(order)
                self._rounds.append({name: timed(cases[name]) for name in order})

    def seconds(self, case: str) -> float:
        """Return the median of a case."""
        return statistics.median(one[case] for one in self._rounds)

    def ratio(self, case: str, base: str) -> float:
        """Return the median of the rounds' ratios: a shared machine slows both cases down alike."""
        return statistics.median(one[case] / one[base] for one in self._rounds)

"""Pytest plugin: many mutants in one run of the Nginx stack's tests, each until a test kills it.

MUTANTS_FILE names a file with a mutant on each line, as JSON. The plugin appends the mutants that are
killed, and the tests that kill them, to the file with the suffix `.killed`.
"""

import contextlib
import json
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from ..support.nginx_stack import NginxStack
from .mutants import Mutant

FILE = os.environ.get("MUTANTS_FILE", "")
MUTANTS = (
    [Mutant(**json.loads(line)) for line in Path(FILE).read_text().splitlines()] if FILE else []
)
SECONDS = 120  # for a test: a mutant that takes longer is killed
_killed: set[Mutant] = set()


@contextlib.contextmanager
def with_mutant(stack: NginxStack, mutant: Mutant) -> Iterator[None]:
    """Apply the mutant to the stack's project; restart the service if the file is the service's."""
    path = stack.project / mutant.file
    original = path.read_text()
    mutant.apply(stack.project)
    restart = stack.without_service if "nginx/" not in mutant.file else contextlib.nullcontext
    try:
        with restart():
            pass
        yield
    finally:
        path.write_text(original)
        with restart():
            pass


def _mutant(item: pytest.Item) -> Mutant | None:
    found = item.callspec.params.get("stack") if hasattr(item, "callspec") else None
    return found if isinstance(found, Mutant) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that have a mutant."""
    items[:] = [item for item in items if _mutant(item)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the tests of killed mutants, and limit the time of the others."""
    if _mutant(item) in _killed:
        pytest.skip("killed")
    signal.signal(signal.SIGALRM, _time_out)
    signal.alarm(SECONDS)


def pytest_runtest_teardown() -> None:
    """End the limit of the time."""
    signal.alarm(0)


def _time_out(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record the test that kills a mutant first."""
    report = yield
    mutant = _mutant(item)
    if report.failed and mutant and mutant not in _killed:
        _killed.add(mutant)
        with Path(f"{FILE}.killed").open("a") as killed:
            killed.write(json.dumps([MUTANTS.index(mutant), item.name.partition("[")[0]]) + "\n")
    return report

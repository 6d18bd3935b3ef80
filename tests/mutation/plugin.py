"""Many faults in one run of the tests of a chain: each is put into what is started, until a test fails.

FAULTS_GIVEN names a file with a fault on each line, as JSON; what notices which is added to the file beside it.
"""

import contextlib
import json
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from .chain import Chain
from .faults import Fault

FILE = os.environ.get("FAULTS_GIVEN", "")
GIVEN = [Fault(**json.loads(line)) for line in Path(FILE).read_text().splitlines()] if FILE else []
SECONDS = 120  # for a test: whatever hangs was noticed
_noticed: set[Fault] = set()


@contextlib.contextmanager
def with_fault(chain: Chain, fault: Fault) -> Iterator[None]:
    """Put the fault into the project; the service is started anew where the file is one of its own."""
    path = chain.project / fault.file
    right = path.read_text()
    fault.put_into(chain.project)
    restart = chain.without_service if "nginx/" not in fault.file else contextlib.nullcontext
    try:
        with restart():
            pass
        yield
    finally:
        path.write_text(right)
        with restart():
            pass


def _fault(item: pytest.Item) -> Fault | None:
    found = item.callspec.params.get("chain") if hasattr(item, "callspec") else None
    return found if isinstance(found, Fault) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if _fault(item)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if _fault(item) in _noticed:
        pytest.skip("noticed")
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)


def pytest_runtest_teardown() -> None:
    signal.alarm(0)


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fault = _fault(item)
    if report.failed and fault and fault not in _noticed:
        _noticed.add(fault)
        with Path(f"{FILE}.noticed").open("a") as noticed:
            noticed.write(json.dumps([GIVEN.index(fault), item.name.partition("[")[0]]) + "\n")
    return report

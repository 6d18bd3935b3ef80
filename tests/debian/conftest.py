"""Fixtures of booted machines, and the order of the modules that share one."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.fixtures import Generate, Needs
from ..support.order import sort_modules
from .host import TURNS, UNIT, Host
from .machine import PROGRAMS, Booted, Machine
from .selection import HOSTS

# The tests of one machine run in this order and build on each other: test_install.py begins with a
# host without the service, and test_refusals.py looks for paths that test_release.py makes.
ORDER = [
    "install",
    "failures",
    "release",
    "timers",
    "prometheus",
    "refusals",
    "rollback",
    "sandbox",
    "watchdog",
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort this folder's tests by the order of their modules."""
    sort_modules(items, Path(__file__).parent, ORDER)


@pytest.fixture(scope="session")
def booted(needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> Booted:
    """Return a context manager that boots a machine of a suite and gives it a directory."""

    @contextlib.contextmanager
    def boot(suite: str, name: str = "") -> Iterator[tuple[Machine, Path]]:
        needs(*PROGRAMS, also=os.getuid() == 0, reason="only root can boot a machine")
        directory = tmp_path_factory.mktemp("boot")
        with Machine(suite, directory, name) as machine:
            yield machine, directory

    return boot


@pytest.fixture(params=range(TURNS))
def turn() -> None:
    """Repeat the test: `make availability` measures each event three times."""


@pytest.fixture(scope="session", params=HOSTS.values(), ids=str)
def host(request: pytest.FixtureRequest, generated: Generate, booted: Booted) -> Iterator[Host]:
    """Return a booted machine with the project, not installed: test_install.py installs it."""
    suite, server = request.param
    with booted(suite) as (machine, directory):
        host = Host(machine, generated(wsgi_server=server), directory, server)
        yield host
        print(host.availability_table())


@pytest.fixture
def installed(host: Host) -> Host:
    """Return a booted machine on which the service runs."""
    if not (host.machine.root / "opt/my-service/current").is_symlink():
        host.install("--self-signed")
    if host.unit_properties("ActiveState") != ["active"]:
        host.start()
    # The starts of one test must not count against systemd's limit in the next.
    host.inside("systemctl", "reset-failed", UNIT)
    return host

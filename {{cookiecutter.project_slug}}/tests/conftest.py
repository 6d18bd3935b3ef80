"""The fixtures: a service of its own for each test, or a started one for all of them.

`pytest` runs everything in this process. `pytest --server tcp`, `--server unix` or
`--server https://host:port` runs the cases that use `client`, the same ones, against a server.
A private certificate authority is named by SSL_CERT_FILE.
"""

# <% if cookiecutter.database == "sqlite" %>
import shutil
# <% endif %>
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from .connection import Forwarder
from .service import (
    TOKEN,
    Service,
    application,
    environ_in,
    free_port,
    # <% if cookiecutter.database == "sqlite" %>
    migrate,
    # <% endif %>
    started,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--server", metavar="tcp|unix|URL", help="run the shared cases against it")
    parser.addoption("--connect", default="", metavar="HOST:PORT", help="where the URL's host is")
    parser.addoption("--token", help="a caller's token, where the server is not started here")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--server"):
        shared = [item for item in items if "client" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in shared])
        items[:] = shared


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if server := config.getoption("--server"):
        count = len(terminalreporter.stats.get("passed", []))
        terminalreporter.write_line(f"{count} shared cases passed against {server}")


# <% if cookiecutter.database == "sqlite" %>
@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, to be copied: migrating takes longer than a test."""
    directory = tmp_path_factory.mktemp("database")
    migrate(environ_in(directory))
    return directory / "test.sqlite3"


# <% endif %>
@pytest.fixture
def environ(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    # <% if cookiecutter.database == "sqlite" %>
    migrated: Path,
    # <% endif %>
) -> dict[str, str]:
    """The settings of a service that can start; its files and the working directory are its own."""
    monkeypatch.chdir(tmp_path)
    # <% if cookiecutter.database == "sqlite" %>
    shutil.copy(migrated, tmp_path)
    # <% endif %>
    return environ_in(tmp_path)


@pytest.fixture
# <% if cookiecutter.wsgi_server == "uwsgi" %>
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where a service can be started."""
    return f"unix:{tmp_path_factory.mktemp('s')}/socket"  # a socket's path is a short one
# <% else %>
def place() -> str:
    """Where a service can be started."""
    return f"http://127.0.0.1:{free_port()}"
# <% endif %>


@pytest.fixture
def service(environ: dict[str, str], place: str, tmp_path: Path) -> Iterator[Service]:
    """A service of its own for the test, started."""
    with started(environ, place, tmp_path / "log") as service:
        yield service


@pytest.fixture(scope="session")
def address(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the server listens that `--server` names; started here unless it is a URL."""
    server = pytestconfig.getoption("--server")
    if server not in ("tcp", "unix"):
        yield server
        return
    directory = tmp_path_factory.mktemp("server")
    environ = environ_in(directory)
    # <% if cookiecutter.database == "sqlite" %>
    migrate(environ)
    # <% endif %>
    tcp = f"http://127.0.0.1:{free_port()}"
    here = tcp if server == "tcp" else f"unix:{directory}/service.sock"
    with started(environ, here, directory / "log") as service:
        yield service.address


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[TestApp]:
    """A client without a token."""
    if request.config.getoption("--server"):
        address = request.getfixturevalue("address")
        yield TestApp(Forwarder(address, request.config.getoption("--connect")))
        return
    with application(request.getfixturevalue("environ")) as app:
        yield TestApp(app)


@pytest.fixture
def caller(client: TestApp, pytestconfig: pytest.Config) -> TestApp:
    """A client with a token."""
    client.authorization = ("Bearer", pytestconfig.getoption("--token") or TOKEN)
    return client

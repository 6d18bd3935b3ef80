"""Fixtures of all tests.

`pytest` runs every test in this process, with a service of its own for each test.

`pytest --server tcp` and `pytest --server unix` run the tests that use `client` against a server.

`pytest --server https://HOST --token TOKEN` runs them against a deployed service. The tests create
and delete data there, so do not name the service in production. SSL_CERT_FILE names the
certificate of a private authority.
"""

import logging
import os
import secrets
# <% if cookiecutter.database != "postgresql" %>
import shutil
# <% endif %>
import sys
import threading
from collections.abc import Iterator
from contextlib import {{ 'chdir, closing' if cookiecutter.database != 'postgresql' else 'closing, contextmanager' }}
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from .contract.http_client import ProxyApp
# <% if cookiecutter.database == "postgresql" %>
from .contract.postgresql import TemporaryDatabase, running_server, temporary_database
# <% endif %>
from .contract.running_service import ServiceProcess, reserved_port
from .contract.service import SERVICE

TOKEN = secrets.token_hex(32)
ADMIN_TOKEN = secrets.token_hex(32)


def service_environ() -> dict[str, str]:
    """Return the environment of a service under test. Add each setting that yours needs to start."""
    return {"APP_ENV": "test", "API_TOKENS": f"tester:{TOKEN}", "ADMIN_TOKEN": ADMIN_TOKEN}


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Undo the configuration of logging by a command, which is that of the whole process."""
    root = logging.getLogger()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)


# <% if cookiecutter.database == "postgresql" %>
@pytest.fixture
def environ(
    database: TemporaryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The environment of a service with a working directory of its own, and an empty database."""
    database.empty()
    monkeypatch.chdir(tmp_path)
    return {**service_environ(), "DATABASE_URL": database.url}
# <% else %>
@pytest.fixture
def environ(
    migrated_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The environment of a service with a working directory, and a database, of its own."""
    shutil.copytree(migrated_directory, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return service_environ()
# <% endif %>


@pytest.fixture
def process_environ(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The process environment, which commands read."""
    monkeypatch.setattr(os, "environ", environ)
    return environ


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[TestApp]:
    """A client without a token."""
    if request.config.getoption("--server"):
        server_url = request.getfixturevalue("server_url")
        yield TestApp(ProxyApp(server_url, request.config.getoption("--connect")))
        return
    settings = SERVICE.settings.load(request.getfixturevalue("environ"))
    with closing(SERVICE.create_app(settings)) as app:
        yield TestApp(app)


@pytest.fixture
def authenticated_client(client: TestApp, pytestconfig: pytest.Config) -> TestApp:
    """A client that sends a token of API_TOKENS."""
    authenticated = TestApp(client.app)
    authenticated.authorization = ("Bearer", pytestconfig.getoption("--token") or TOKEN)
    return authenticated


# <% if cookiecutter.database == "postgresql" %>
@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def database(postgresql_url: str) -> Iterator[TemporaryDatabase]:
    """A migrated database. All tests share it, because migrating takes longer than a test."""
    with migrated_database(postgresql_url) as database:
        yield database


@pytest.fixture(scope="session")
def server_database(postgresql_url: str) -> Iterator[TemporaryDatabase]:
    """The database of the started server, which no test empties."""
    with migrated_database(postgresql_url) as database:
        yield database


@contextmanager
def migrated_database(server: str) -> Iterator[TemporaryDatabase]:
    with temporary_database(server) as database:
        settings = SERVICE.settings.load({**service_environ(), "DATABASE_URL": database.url})
        with closing(SERVICE.open_database(settings)) as opened:
            opened.migrate()
        yield database
# <% else %>
@pytest.fixture(scope="session")
def migrated_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a migrated database, if the service has one.

    Each test and the started server copy it, because migrating takes longer than a test.
    """
    directory = tmp_path_factory.mktemp("migrated")
    if SERVICE.has_database:
        settings = SERVICE.settings.load(service_environ())
        with chdir(directory), closing(SERVICE.open_database(settings)) as database:
            database.migrate()
    return directory
# <% endif %>


@pytest.fixture(scope="session")
def server_url(
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The URL of the server that `--server` names; it is started here unless that is a URL."""
    server = pytestconfig.getoption("--server")
    if server not in ("tcp", "unix"):
        yield server
        return
    directory, environ = tmp_path_factory.mktemp("server"), service_environ()
# <% if cookiecutter.database == "postgresql" %>
    environ["DATABASE_URL"] = request.getfixturevalue("server_database").url
# <% else %>
    shutil.copytree(request.getfixturevalue("migrated_directory"), directory, dirs_exist_ok=True)
# <% endif %>
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}" if server == "tcp" else f"unix:{directory}/service.sock"
        with ServiceProcess(environ, url, directory):
            yield url


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server", metavar="tcp|unix|URL", help="run the tests that use `client` there"
    )
    parser.addoption("--connect", default="", metavar="HOST:PORT", help="address of the URL's host")
    parser.addoption("--token", help="a token of API_TOKENS, if --server is a URL")


def pytest_sessionstart() -> None:
    if missing := SERVICE.settings.required() - service_environ().keys():
        names = ", ".join(sorted(missing))
        raise pytest.UsageError(f"tests/conftest.py: add {names} to service_environ(): required")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--server"):
        shared = [item for item in items if "client" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in shared])
        items[:] = shared


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if server := config.getoption("--server"):
        count = len(terminalreporter.stats.get("passed", []))
        terminalreporter.write_line(f"{count} shared cases passed against {server}")

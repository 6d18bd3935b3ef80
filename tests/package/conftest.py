"""Fixtures of the sample service: in this process, or started with each server."""

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from webtest import TestApp

from .running_service import SERVERS, Launcher, ServiceProcess, assemble, launcher_of
from .sample.app import create_app
from .sample.settings import Settings
from .tokens import ADMIN_TOKEN, TOKEN


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


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a service that can start; the working directory is the test's own."""
    monkeypatch.chdir(tmp_path)
    return {
        "APP_ENV": "test",
        "API_TOKENS": f"tester:{TOKEN}",
        "ADMIN_TOKEN": f"{'b' * 40}, {ADMIN_TOKEN}",
    }


@pytest.fixture
def sample_client(environ: dict[str, str]) -> Iterator[TestApp]:
    """A client, without a token, of the sample service in this process."""
    app = create_app(Settings.load(environ))
    yield TestApp(app, lint=False)  # lint rejects methods that the tests make up
    app.close()


@pytest.fixture(scope="session")
def sample_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the sample service, with every server."""
    return assemble(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """Each WSGI server."""
    return str(request.param)


@pytest.fixture
def launcher(sample_project: Path, server: str) -> Iterator[Launcher]:
    """Starts services, which end with the test."""
    with launcher_of(sample_project, server) as launcher:
        yield launcher


@pytest.fixture
def service(launcher: Launcher) -> ServiceProcess:
    """A started service of the test's own."""
    return launcher.start()


@pytest.fixture(scope="module")
def shared_service(sample_project: Path, server: str) -> Iterator[ServiceProcess]:
    """A started service for tests that leave it as it is."""
    with launcher_of(sample_project, server) as launcher:
        yield launcher.start()

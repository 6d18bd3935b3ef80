"""The service under test: made in this process, or started as its users start it."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast, get_type_hints
from urllib.parse import urlsplit

import pytest
from bottle import Bottle
from msgspec import Struct

from {{ cookiecutter.package_name }}.app import create_app
# <% if cookiecutter.database == "sqlite" %>
from {{ cookiecutter.package_name }}.database import Database
# <% endif %>
from {{ cookiecutter.package_name }}.routes import add_routes
from {{ cookiecutter.package_name }}.settings import load_settings

from .connection import connect

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "{{ cookiecutter.package_name }}"]
TOKEN = secrets.token_urlsafe(32)


class Table:
    """A routing table that keeps the routes which ask for a token and read a JSON object."""

    def __init__(self) -> None:
        self.guarded: list[str] = []

    def route(
        self, rule: str, method: str | list[str], handler: Callable[..., Any], **options: Any
    ) -> None:
        body = get_type_hints(handler).get("body")
        reads = isinstance(body, type) and issubclass(body, Struct) and "POST" in method
        if reads and "<" not in rule and not options.get("public") and not options.get("admin"):
            self.guarded.append(rule)


TABLE = Table()
add_routes(cast(Bottle, TABLE))
# The first such route stands for all of them.
GUARDED = next(iter(TABLE.guarded), "")
BODY = b'{"{{ 'title' if cookiecutter.database != 'none' else 'name' }}": "x"}'
# What reads another JSON has read all of it to say so.
ANSWERED = {200, 201, 202, 204, 422}
guarded = pytest.mark.skipif(not GUARDED, reason="no route asks for a token and reads JSON yet")


def environ_in(directory: Path) -> dict[str, str]:
    """Return the settings of a service that can start, with its files in the directory."""
    return {
        "APP_ENV": "test",
        "API_TOKENS": f"tester:{TOKEN}",
        # <% if cookiecutter.database == "sqlite" %>
        "DATABASE_URL": f"sqlite:///{directory}/test.sqlite3",
        # <% endif %>
        "TRUSTED_PROXIES": "1",
    }
# <% if cookiecutter.database == "sqlite" %>


def migrate(environ: dict[str, str]) -> None:
    database = Database(load_settings(environ))
    database.migrate()
    database.close()
# <% endif %>


@contextlib.contextmanager
def application(environ: dict[str, str]) -> Iterator[Bottle]:
    app = create_app(load_settings(environ))
    yield app
    app.close()


_HELD: list[socket.socket] = []


def free_port() -> int:
    """Return a port that nobody else is given while this process lives.

    It is held without listening: a server, which sets SO_REUSEADDR, can still listen on it.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("", 0))
    _HELD.append(holder)
    port: int = holder.getsockname()[1]
    return port


class Service:
    """`serve` as a process of its own, with its log in a file.

    `inherited` is a listening socket to hand over, as systemd does (sd_listen_fds(3)).
    """

    def __init__(
        self,
        environ: dict[str, str],
        address: str,
        log: Path,
        inherited: socket.socket | None = None,
    ) -> None:
        self.address = address
        self._log = log
        bind = address if address.startswith("unix:") else urlsplit(address).netloc
        serve = [*COMMAND, "serve"]
        if inherited:
            hand_over = (
                f"import os, sys; os.dup2({inherited.fileno()}, 3); "
                "os.environ |= {'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())}; "
                "os.execv(sys.argv[1], sys.argv[1:])"
            )
            serve = [sys.executable, "-c", hand_over, *serve]
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                serve,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT / "src"),
                    **environ,
                    "BIND": bind,
                },
                stderr=stderr,
                pass_fds=[inherited.fileno()] if inherited else [],
            )

    def wait_until_ready(self) -> None:
        ends = time.monotonic() + 20
        while time.monotonic() < ends and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if self.get("/livez")[0] == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"the service did not start:\n{self.log()}")

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Return the status and the JSON that come back."""
        connection = connect(self.address)
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, json.loads(body)

    def half_a_request(self) -> HTTPConnection:
        """Return a connection on which the rest of BODY is left to be sent."""
        connection = connect(self.address)
        connection.putrequest("POST", GUARDED)
        connection.putheader("Authorization", f"Bearer {TOKEN}")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(BODY)))
        connection.endheaders(BODY[:5])
        return connection

    def log(self) -> str:
        return self._log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Return what it has logged, which is JSON."""
        # <% if cookiecutter.wsgi_server == "uwsgi" %>
        # All but what uWSGI says before it has read how its lines look.
        lines = [line for line in self.log().splitlines() if not line.startswith(("[", "running"))]
        # <% else %>
        lines = self.log().splitlines()
        # <% endif %>
        return [json.loads(line) for line in lines]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end and return its exit status; kill it when all its time is over."""
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout=60)  # as TimeoutStopSec
        finally:
            self.process.kill()


# <% if cookiecutter.wsgi_server != "waitress" %>
def workers_of(service: Service) -> list[int]:
    """Return the process ids of the server's workers (proc(5))."""
    listed = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    return [int(pid) for pid in listed.read_text().split()]


# <% endif %>
@contextlib.contextmanager
def started(environ: dict[str, str], address: str, log: Path) -> Iterator[Service]:
    service = Service(environ, address, log)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.stop()

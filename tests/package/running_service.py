"""The sample service as a process of its own, started by `serve` as its users start it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from ..support.logs import parse_log
from . import PROJECT, SOURCES
from .http_client import connect
from .tokens import ADMIN_TOKEN, TOKEN

SERVERS = ("gunicorn", "waitress", "uwsgi")
PACKAGE = Path(__file__).parent
PROGRAMS = PACKAGE / "programs"
BODY = b'{"name": "World"}'


def assemble(directory: Path) -> Path:
    """Put the sample service together as a project: its package next to bottle_service."""
    for package in (SOURCES / "bottle_service", PACKAGE / "sample"):
        shutil.copytree(package, directory / "src" / package.name)
    for name in ("gunicorn.conf.py", "uwsgi.ini"):
        shutil.copy(PROJECT / name, directory)
    return directory


_held: list[socket.socket] = []


def free_port() -> int:
    """Return a port that is given to no one else while this process lives.

    It is held without listening: a server, which sets SO_REUSEADDR, can still listen on it.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("", 0))
    _held.append(holder)
    port: int = holder.getsockname()[1]
    return port


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until the condition is true. Fails the test if it stays false for `seconds`."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "the condition stayed false"
        time.sleep(0.02)


def is_stopped(process: int) -> bool:
    """Return whether SIGSTOP has stopped every thread of the process (proc(5))."""
    threads = Path(f"/proc/{process}/task").glob("*/stat")
    return all(") T " in thread.read_text() for thread in threads)


class ServiceProcess:
    """The `serve` process of a project, with its log in a file."""

    def __init__(
        self,
        project: Path,
        server: str,
        bind: str,
        directory: Path,
        environ: dict[str, str],
        *,
        inherited: socket.socket | None = None,
        sitecustomize: str = "",
    ) -> None:
        """Start the service with `directory` as its working directory.

        `inherited` is a listening socket to pass, as systemd does (sd_listen_fds(3)).
        `sitecustomize` names a directory of programs/ whose sitecustomize.py Python runs first.
        """
        self.bind = bind
        self.server = server
        self.directory = directory
        self._log = directory / "log"
        serve = [sys.executable, "-m", "sample", "serve"]
        if inherited:
            pass_socket = str(PROGRAMS / "pass_socket.py")
            serve = [sys.executable, pass_socket, str(inherited.fileno()), *serve]
        paths = [project / "src", *([PROGRAMS / sitecustomize] if sitecustomize else [])]
        with self._log.open("ab") as stderr:
            self.process = subprocess.Popen(
                serve,
                cwd=directory,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": os.pathsep.join(map(str, paths)),
                    "PYTHONDONTWRITEBYTECODE": "1" if sitecustomize else "",
                    "SAMPLE_SERVER": server,
                    "APP_ENV": "test",
                    "API_TOKENS": f"tester:{TOKEN}",
                    "ADMIN_TOKEN": ADMIN_TOKEN,
                    "TRUSTED_PROXY_COUNT": "1",
                    "WEB_CONCURRENCY": "1" if server == "waitress" else "2",
                    "TMPDIR": str(directory),
                    **environ,
                    "BIND": bind,
                },
                stderr=stderr,
                pass_fds=[inherited.fileno()] if inherited else [],
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def connect(self) -> HTTPConnection:
        return connect(self.bind, self.server)

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Return status and text of the response."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode()

    def metrics(self) -> str:
        status, text = self.get("/metrics", {"Authorization": f"Bearer {ADMIN_TOKEN}"})
        assert status == 200
        return text

    def is_ready(self) -> bool:
        assert self.is_running, f"the service has exited:\n{self.log()}"
        with contextlib.suppress(OSError):
            return self.get("/livez")[0] == 200
        return False

    def open_partial_request(self) -> "PartialRequest":
        return PartialRequest(self.connect())

    def log(self) -> str:
        return self._log.read_text()

    def log_records(self) -> list[dict[str, Any]]:
        return parse_log(self.log().splitlines())

    def workers(self) -> list[int]:
        """Return the process IDs of the server's workers (proc(5))."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in children.split()]

    def serving_processes(self) -> list[int]:
        return [self.process.pid] if self.server == "waitress" else self.workers()

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a stop signal, and return the exit status of the service."""
        self.process.send_signal(number)
        return self.process.wait(timeout=seconds)  # 60: TimeoutStopSec of the unit

    def kill(self) -> None:
        """End every process of the service."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class PartialRequest:
    """A POST request whose body is sent except for its end."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        connection.putrequest("POST", "/greetings")
        connection.putheader("Authorization", f"Bearer {TOKEN}")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(BODY)))
        connection.endheaders(BODY[:5])

    def complete(self) -> None:
        """Send the end of the body, and check the response."""
        with contextlib.closing(self._connection):
            self._connection.send(BODY[5:])
            response = self._connection.getresponse()
            assert response.status == 200
            assert json.loads(response.read()) == {"greeting": "Hello, World!"}


class Launcher:
    """Starts the sample service with one server, each time in a directory of its own."""

    def __init__(self, project: Path, server: str, directory: Path) -> None:
        self.project = project
        self.server = server
        self.directory = directory
        self._started: list[ServiceProcess] = []

    def bind(self) -> str:
        """Return an address of its own: for uWSGI a unix socket, as in production."""
        if self.server == "uwsgi":
            return f"unix:{self.directory}/s{len(self._started)}"
        return f"127.0.0.1:{free_port()}"

    def start(self, bind: str = "", *, wait: bool = True, **options: Any) -> ServiceProcess:
        """Start the service, and wait until it responds.

        Names in upper case are settings; the others are parameters of ServiceProcess.
        """
        environ = {name: options.pop(name) for name in list(options) if name.isupper()}
        directory = self.directory / f"{len(self._started)}"
        directory.mkdir()
        service = ServiceProcess(
            self.project, self.server, bind or self.bind(), directory, environ, **options
        )
        self._started.append(service)
        if wait:
            wait_until(service.is_ready)
        return service

    def kill(self) -> None:
        for service in self._started:
            service.kill()


@contextlib.contextmanager
def launcher_of(project: Path, server: str) -> Iterator[Launcher]:
    """Return a launcher whose services end with the context."""
    # A short path, because that of a unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="s") as directory:
        launcher = Launcher(project, server, Path(directory))
        try:
            yield launcher
        finally:
            launcher.kill()

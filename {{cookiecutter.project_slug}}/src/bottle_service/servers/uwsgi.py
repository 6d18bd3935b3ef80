"""Start uWSGI in place of the `serve` process."""

import atexit
import contextlib
import os
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bottle import Bottle

from ..http.problems import Environ, WSGIApp
from ..startup import StartupProblem
from ..telemetry.worker_slots import make_metrics_directory
from . import LISTEN_FD
from .event_streams import EventStreamMiddleware, shut_down
from .sd_notify import Address, notify_when_ready

if TYPE_CHECKING:
    from ..service import Service

__all__ = ["check", "packet", "prepare_worker", "serve"]


def packet(variables: dict[str, str]) -> bytes:
    """Return a request in uWSGI's own protocol.

    https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html
    """
    texts = [text.encode("latin-1") for pair in variables.items() for text in pair]
    content = b"".join(struct.pack("<H", len(text)) + text for text in texts)
    return struct.pack("<BHB", 0, len(content), 0) + content


# Messages between an emperor and its vassal. At the second, the emperor keeps the socket, and starts
# the vassal again when requests wait there.
RELOAD, BACK_TO_ON_DEMAND = b"\x01", b"\x16"

HEALTH_REQUEST = packet(
    {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/livez",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.0",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_USER_AGENT": "self-probe",
    }
)


def check(settings: Any) -> list[StartupProblem]:
    """Return why uWSGI could not run with these settings."""
    problems = []
    if not hasattr(os, "fork"):
        reason = "uWSGI needs POSIX: develop in WSL, or choose Waitress"
        problems.append(StartupProblem("", reason, sys.platform))
    on_unix_socket = settings.bind.path or isinstance(_inherited_address(), str)
    if settings.app_env == "production" and not on_unix_socket:
        # uWSGI's HTTP parser accepts requests that another server could read in another way.
        reason = "in production uWSGI listens on unix:/path, for Nginx's uwsgi_pass"
        problems.append(StartupProblem("BIND", reason))
    return problems


def serve(service: "Service", settings: Any, app: Bottle) -> None:
    """Replace this process by uWSGI; its workers create their own application."""
    app.close()
    metrics = make_metrics_directory(service.package)
    notify_socket = os.environ.pop("NOTIFY_SOCKET", "")  # READY=1 would come before any worker
    config = service.directory.parents[1] / "uwsgi.ini"
    command = [sys.executable, "-c", "from pyuwsgi import run; run()", "--ini", str(config)]
    inherited = _inherited_address()
    path = inherited if isinstance(inherited, str) else ""
    # uWSGI would drop its requests in flight at the emperor's message, so it does not get it.
    emperor = os.environ.pop("UWSGI_EMPEROR_FD", "")
    if not inherited and settings.bind.path:
        path = settings.bind.path
        command += ["--socket", path]
    elif inherited and not path:
        command += ["--protocol", "http"]  # a TCP socket of the development server
    elif not path:
        command += ["--http-socket", str(settings.bind)]
    os.environ |= {
        "PROMETHEUS_MULTIPROC_DIR": metrics,
        "SERVE_MODULE": f"{service.package}.wsgi:app",
        "SERVE_NAME": service.name,
        "SERVE_WEB_CONCURRENCY": str(settings.web_concurrency),
        "SERVE_WEB_THREADS": str(settings.web_threads),
        f"SERVE_{settings.log_format.upper()}": "",
    }
    os.dup2(2, 1)  # uWSGI logs to standard output
    if emperor:
        _run_as_vassal(int(emperor), metrics, service.package)
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    else:
        _fork_notifier(metrics, path, notify_socket)
    os.execvp(command[0], command)


def prepare_worker(app: Bottle) -> None:
    """Cut streams that fail or never end, and finish all other requests after a kill of the master.

    By default a worker exits immediately, with its requests in flight, when one of its threads
    reads that the master's end of a socket is closed (`uwsgi_receive_signal` in uWSGI's
    core/signal.c). So each socket of the master is replaced by one that is never closed.
    """
    if sys.platform != "linux" or "uwsgi" not in sys.modules:
        return
    app.wsgi = streams = EventStreamMiddleware(BrokenStreamMiddleware(app.wsgi), _cutter_of)
    process = sys.modules["uwsgi"].masterpid()
    try:
        watched = os.pidfd_open(process)
    except ProcessLookupError:
        os._exit(0)  # the master was killed while this worker loaded: accept no request
    if _is_stopping(process):
        os._exit(0)
    master = struct.pack("i", process)
    never_closed, _ = (end.detach() for end in socket.socketpair())
    for fd, end in _open_sockets():
        with contextlib.suppress(OSError):
            kind = end.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
            made_by = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4)
            if (kind, end.getsockname()) == (socket.SOCK_STREAM, "") and made_by == master:
                os.dup2(never_closed, fd)

    def drain_when_master_dies() -> None:
        select.select([watched], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=drain_when_master_dies, daemon=True).start()
    stop = (process, streams)
    threading.Thread(target=_cut_streams_at_stop, args=stop, daemon=True).start()


class BrokenStreamMiddleware:
    """WSGI middleware that cuts the connection of a response that fails after its beginning.

    uWSGI closes the connection as after a complete response (unbit/uwsgi#1572).
    """

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        body = self._app(environ, start_response)
        return body if isinstance(body, list) else CutIfBroken(body)


class CutIfBroken:
    """A streamed body that cuts the connection if it raises."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except Exception:
            _cut_connection(sys.modules["uwsgi"].connection_fd())
            raise

    def close(self) -> None:
        if hasattr(self._body, "close"):
            self._body.close()


def _cutter_of(_environ: Environ) -> Callable[[], None]:
    """Return a function that shuts down the connection of the current request."""
    connection = socket.socket(fileno=os.dup(sys.modules["uwsgi"].connection_fd()))
    return partial(shut_down, connection)


def _cut_streams_at_stop(master: int, streams: EventStreamMiddleware) -> None:
    """Cut event streams at a stop, and exit as soon as no other request is in flight.

    uWSGI would wait for a stream that waits for its next event.
    """
    while not (streams and _is_stopping(master)):
        time.sleep(0.5)
    while _count_connections() > len(streams):
        streams.cut()
        time.sleep(0.1)
    streams.cut()
    atexit._run_exitfuncs()
    os._exit(0)


def _open_sockets() -> Iterator[tuple[int, socket.socket]]:
    """Yield the number of each open socket, and a duplicate that is closed afterwards."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # closed meanwhile
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket.fromfd(fd, socket.AF_UNIX, 0) as end:
                    yield fd, end


def _count_connections() -> int:
    """Return the number of open connections from clients; uWSGI closes one after each request."""
    listening, connected = set(), {}
    for fd, end in _open_sockets():
        with contextlib.suppress(OSError):
            if end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                listening.add(end.getsockname())
            else:
                connected[os.fstat(fd).st_ino] = end.getsockname()
    return sum(name in listening for name in connected.values())


def _cut_connection(fd: int) -> None:
    """Prevent that the close of this connection, which follows, looks like the end of a response.

    A TCP connection is reset. On a unix socket a close is always an end, so the connection stays
    open until Nginx, after uwsgi_read_timeout, closes it and cuts the client's connection.
    """
    connection = socket.socket(fileno=os.dup(fd))
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return

    def hold() -> None:
        with connection:
            closed = select.poll()
            closed.register(connection, select.POLLRDHUP)
            closed.poll(60_000)  # milliseconds; longer than uwsgi_read_timeout

    threading.Thread(target=hold, daemon=True).start()


def _is_stopping(master: int) -> bool:
    """Return whether the master handles a stop signal, and waits for its workers to exit.

    A worker ignores its master's HUP until the hook-post-fork of uwsgi.ini. So a stop during a
    reload would wait for a new worker that serves on. The master blocks the stop signal meanwhile;
    at a fork the C library blocks all signals, HUP too.
    """
    try:
        status = Path(f"/proc/{master}/status").read_text()
    except FileNotFoundError:
        return True  # it was killed
    blocked = int(re.findall(r"^SigBlk:\s+(\w+)", status, re.MULTILINE)[0], 16)
    terminate, interrupt, hang_up = (
        blocked >> number - 1 & 1 for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    )
    return bool((terminate or interrupt) and not hang_up)


def _inherited_address() -> Address | None:
    """Return the address of the socket that systemd (sd_listen_fds(3)) or an emperor passes."""
    if "UWSGI_EMPEROR_FD" in os.environ:
        inherited = 0
    elif os.environ.get("LISTEN_PID") == str(os.getpid()):
        inherited = LISTEN_FD
    else:
        return None
    address: Address = socket.socket(fileno=os.dup(inherited)).getsockname()
    return address


def _fork_notifier(metrics: str, path: str, notify_socket: str) -> None:
    """Fork a process that notifies systemd, and removes the metrics after the server has exited.

    uWSGI's master runs no Python code. The process is not its child, because uWSGI waits for
    children.
    """
    server = os.getpid()
    if child := os.fork():
        os.waitpid(child, 0)
        return
    if os.fork() == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
        if notify_socket:
            # systemd stops this process together with the server.
            where = (notify_socket, socket.AF_UNIX, path, lambda: True, HEALTH_REQUEST)
            threading.Thread(target=notify_when_ready, args=where, daemon=True).start()
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(server, 0)
                time.sleep(0.5)
        shutil.rmtree(metrics, ignore_errors=True)
    os._exit(0)


def _run_as_vassal(emperor: int, metrics: str, package: str) -> None:
    """Fork the server; this process follows the emperor's messages until the server has exited.

    https://uwsgi-docs.readthedocs.io/en/latest/EmperorProtocol.html
    """
    if (server := os.fork()) == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ignored in the emperor's children
        return
    vassal = os.getpid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    events = [emperor, os.pidfd_open(server)]
    # A check that hangs must not delay the emperor's next message.
    limited = ["timeout", "--verbose", "--signal=KILL", "15"]
    check = [*limited, sys.executable, "-m", package, "check"]
    while emperor in select.select(events, [], [])[0]:
        message = os.read(emperor, 1)  # empty if the emperor has died
        if message == RELOAD:
            if subprocess.run(check, stdout=subprocess.DEVNULL, check=False).returncode:
                continue
            os.write(emperor, BACK_TO_ON_DEMAND)
        os.kill(server, signal.SIGTERM)
        break
    if os.WIFSIGNALED(os.waitpid(server, 0)[1]):
        os.write(emperor, BACK_TO_ON_DEMAND)
    shutil.rmtree(metrics, ignore_errors=True)
    if os.fork() == 0:
        # When the emperor's socket closes, the emperor looks for dead vassals at once; after
        # that it looks every two seconds. So keep it open until the vassal is dead.
        while os.getppid() == vassal:
            time.sleep(0.01)
    os._exit(0)

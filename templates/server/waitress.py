"""How the server is started: Waitress, in this process."""

import errno
import json
import logging
import os
import re
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable
from typing import Any

from bottle import Bottle
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import create_server
from waitress.task import ErrorTask

from .environment import BootError, Problem
from .settings import Bind, Settings

logger = logging.getLogger(__name__)

# How long connections may idle on after a stop was asked for: a client that has just sent a
# request on one still gets its answer. And how long requests may take to finish.
LINGER = 1.0
GRACE = 40.0


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Refuses what Waitress' own stumbles over, or takes for another request than a proxy does."""

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError:  # `GET http://[`, or a length of more digits than Python reads
            raise ParsingError("The request is malformed") from None
        lines = header_plus.split(b"\r\n")[1:]
        names = [line.partition(b":")[0].lower() for line in lines]
        # RFC 9112, section 6.3: how long is the body? 3.2: which host? 5.2: which header?
        coded = b"transfer-encoding" in names
        if coded and (b"content-length" in names or not self.chunked):
            raise ParsingError("The length of the body is ambiguous")
        if names.count(b"host") > 1 or any(line[:1] in (b" ", b"\t") for line in lines):
            raise ParsingError("The headers are ambiguous")


class Refusal(ErrorTask):  # type: ignore[misc]
    """Answers what never reaches the application as it would: as a problem (RFC 9457)."""

    def execute(self) -> None:
        error = self.request.error
        problem = {"type": "about:blank", "title": error.reason, "status": error.code}
        detail = "The server cannot take this request."
        body = json.dumps(problem | {"detail": detail}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/problem+json"))
        self.content_length = len(body)
        self.set_close_on_finish()
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    parser_class = Parser
    error_task_class = Refusal


def problems(settings: Settings) -> list[Problem]:
    """Say why Waitress could not run with these settings."""
    if settings.web_concurrency > 1:
        reason = "Waitress is one process: raise WEB_THREADS, or start more of it behind Nginx"
        return [Problem("WEB_CONCURRENCY", reason)]
    return []


def serve(settings: Settings, app: Bottle) -> None:
    """Serve until a signal asks to stop; then finish what has begun, and return.

    Raises BootError when it cannot listen where it should.
    """
    # It warns of each request that waits for a thread, which is what its queue is for.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    stopping = threading.Event()
    try:
        listener = _inherited() or _listen(settings.bind)
    except OSError as error:
        problem = Problem("BIND", f"cannot listen on {settings.bind}: {error.strerror}")
        raise BootError([problem]) from None
    connections: dict[int, Any] = {}
    server = create_server(
        app,
        map=connections,
        sockets=[listener],
        threads=settings.web_threads,
        backlog=2048,
        # The application says who the client is, and how large a body may be.
        clear_untrusted_proxy_headers=False,
        max_request_body_size=2 * settings.max_body_bytes,
        ident=None,
    )
    server.channel_class = Channel

    def stop(_signal: int, _frame: Any) -> None:
        stopping.set()
        server.pull_trigger()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    logger.info("listening on %s", listener.getsockname())
    if name := os.environ.pop("NOTIFY_SOCKET", ""):
        where = (name, listener.family, listener.getsockname(), lambda: not stopping.is_set())
        threading.Thread(target=announce, args=where, daemon=True).start()
    while not stopping.is_set():
        _poll(connections, 30)
    logger.info("stopping")
    _drain(server, connections)
    app.close()


def _poll(connections: dict[int, Any], seconds: float) -> None:
    wasyncore.loop(timeout=seconds, use_poll=True, map=connections, count=1)


def _drain(server: Any, connections: dict[int, Any]) -> None:
    """Take no new connection, answer what was asked, close what idles.

    Waitress itself drops what its threads are answering when it stops (Pylons/waitress#269).
    """
    server.accepting = False
    started = time.monotonic()
    while server.active_channels and time.monotonic() < started + GRACE:
        if time.monotonic() > started + LINGER:
            for channel in list(server.active_channels.values()):
                if not (channel.requests or channel.request or channel.total_outbufs_len):
                    channel.will_close = True
        _poll(connections, 0.1)
    server.task_dispatcher.shutdown(timeout=1)


def _inherited() -> socket.socket | None:
    """Return the socket that systemd listens on for us (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        return socket.socket(fileno=3)
    return None


def _listen(bind: Bind) -> socket.socket:
    if not bind.path:
        family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
        return socket.create_server((bind.host, bind.port), family=family, backlog=2048)
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(bind.path) and stat.S_ISSOCK(os.stat(bind.path).st_mode):
        # One that nobody listens on was left behind by a process that was killed.
        if listener.connect_ex(bind.path) == 0:
            raise OSError(errno.EADDRINUSE, "is in use", bind.path)
        os.unlink(bind.path)
    listener.bind(bind.path)
    os.chmod(bind.path, 0o660)
    listener.listen(2048)
    return listener


# <% include "server/notify.py" %>

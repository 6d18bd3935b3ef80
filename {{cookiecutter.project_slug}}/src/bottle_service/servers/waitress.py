"""Run Waitress in the `serve` process."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bottle import Bottle
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import create_server
from waitress.task import ErrorTask, WSGITask

from ..http.body_limit import largest_body
from ..http.problems import Environ
from ..startup import StartupProblem
from . import inherited_socket, listen, malformed_request_problem
from .event_streams import EventStreamMiddleware
from .sd_notify import notify_when_ready

if TYPE_CHECKING:
    from ..service import Service

__all__ = ["check", "prepare_worker", "serve"]

logger = logging.getLogger(__name__)

# Seconds after a stop signal: idle connections stay open, for a request that is on its way; and
# requests may take to finish.
KEEPALIVE_DRAIN_SECONDS = 1.0
GRACEFUL_TIMEOUT = 40.0


class StrictParser(HTTPRequestParser):  # type: ignore[misc]
    """Reject requests that make Waitress fail, or that a proxy could read in another way."""

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError:  # `GET http://[`, or a length of more digits than Python reads
            raise ParsingError("The request is malformed") from None
        lines = header_plus.split(b"\r\n")[1:]
        names = [line.partition(b":")[0].lower() for line in lines]
        # RFC 9112: sections 6.3 (length of the body), 3.2 (host) and 5.2 (folded headers).
        coded = b"transfer-encoding" in names
        if coded and (b"content-length" in names or not self.chunked):
            raise ParsingError("The length of the body is ambiguous")
        if names.count(b"host") > 1 or any(line[:1] in (b" ", b"\t") for line in lines):
            raise ParsingError("The headers are ambiguous")


class ProblemErrorTask(ErrorTask):  # type: ignore[misc]
    """Respond with problem details (RFC 9457) to a request that Waitress cannot parse."""

    def execute(self) -> None:
        error = self.request.error
        body = malformed_request_problem(error.code, error.reason)
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/problem+json"))
        self.content_length = len(body)
        self.set_close_on_finish()
        self.write(body)


class HeadTask(WSGITask):  # type: ignore[misc]
    """Respond to HEAD without the end of a chunked body (RFC 9110, section 9.3.2)."""

    def finish(self) -> None:
        if self.request.command == "HEAD":
            self.write(b"")  # the headers, which name the coding
            self.chunked_response = False
        super().finish()


class Channel(HTTPChannel):  # type: ignore[misc]
    parser_class = StrictParser
    task_class = HeadTask
    error_task_class = ProblemErrorTask


def check(settings: Any) -> list[StartupProblem]:
    """Return why Waitress could not run with these settings."""
    if settings.web_concurrency > 1:
        reason = "Waitress is one process: raise WEB_THREADS, or start more services behind Nginx"
        return [StartupProblem("WEB_CONCURRENCY", reason)]
    return []


def serve(_service: "Service", settings: Any, app: Bottle) -> None:
    """Serve until a stop signal, finish the requests in flight, and return.

    Raises StartupError if Waitress cannot listen.
    """
    # Waitress warns of each request that waits for a thread, which is usual under load.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    stopping = threading.Event()
    listener = inherited_socket() or listen(settings.bind)
    connections: dict[int, Any] = {}
    app.wsgi = streams = EventStreamMiddleware(app.wsgi, _cutter_of)
    server = create_server(
        app,
        map=connections,
        sockets=[listener],
        threads=settings.web_threads,
        backlog=2048,
        # ProxyHeadersMiddleware handles the headers of proxies, SanitizeRequestMiddleware the size
        # of bodies.
        clear_untrusted_proxy_headers=False,
        max_request_body_size=2 * largest_body(app, settings.max_body_bytes),
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
        threading.Thread(target=notify_when_ready, args=where, daemon=True).start()
    while not stopping.is_set():
        _poll(connections, 30)
    logger.info("stopping")
    _drain(server, connections, streams)
    app.close()


def prepare_worker(_app: Bottle) -> None:
    """Do nothing: `serve` uses the application that it is given."""


def _poll(connections: dict[int, Any], seconds: float) -> None:
    wasyncore.loop(timeout=seconds, use_poll=True, map=connections, count=1)


def _cutter_of(environ: Environ) -> Callable[[], None]:
    """Return a function that closes the connection of a request."""
    # A bound method of the connection: https://docs.pylonsproject.org/projects/waitress/
    channel = environ["waitress.client_disconnected"].__self__
    return lambda: setattr(channel, "will_close", True)


def _drain(server: Any, connections: dict[int, Any], streams: EventStreamMiddleware) -> None:
    """Accept no new connection, finish the requests in flight, close idle connections.

    Event streams are cut.

    Waitress drops requests in flight when it stops (Pylons/waitress#269).
    """
    server.accepting = False
    started = time.monotonic()
    while server.active_channels and time.monotonic() < started + GRACEFUL_TIMEOUT:
        streams.cut()
        if time.monotonic() > started + KEEPALIVE_DRAIN_SECONDS:
            for channel in list(server.active_channels.values()):
                if not (channel.requests or channel.request or channel.total_outbufs_len):
                    channel.will_close = True
        _poll(connections, 0.1)
    server.task_dispatcher.shutdown(timeout=1)

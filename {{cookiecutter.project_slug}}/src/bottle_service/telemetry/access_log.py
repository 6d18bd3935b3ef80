"""Access log: one line for each request, in the format of the other log entries."""

import re
import time
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.json import Encoder

from .exchange import Exchange
from .logging import write_line

__all__ = ["AccessLog"]

_FIELD_NAMES = {
    "timestamp": "@timestamp",
    "level": "log.level",
    "logger": "log.logger",
    "service": "service.name",
    "request_id": "http.request.id",
    "method": "http.request.method",
    "path": "url.path",
    "route": "http.route",
    "status": "http.response.status_code",
    "bytes_sent": "http.response.body.bytes",
    "duration": "event.duration",
    "client_address": "client.ip",
    "client_name": "user.name",
    "user_agent": "user_agent.original",
    "error": "error.type",
    "trace_id": "trace.id",
    "release": "service.version",
}

# https://www.w3.org/TR/trace-context/#traceparent-header
_match_traceparent = re.compile(
    "(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
).fullmatch


class AccessLine(Struct, rename=_FIELD_NAMES, omit_defaults=True, gc=False):
    """`duration` is in nanoseconds, as in ECS. The query is left out: it may hold a secret."""

    timestamp: datetime
    level: str
    logger: str
    message: str
    service: str
    request_id: str
    method: str
    path: str
    status: int
    bytes_sent: int
    duration: int
    route: str = ""
    client_address: str = ""
    client_name: str = ""
    user_agent: str = ""
    error: str = ""
    trace_id: str = ""
    release: str = ""


class AccessLog:
    """Recorder that writes the access log directly; through `logging` it would cost three times as much.

    At log level WARNING and above, only failed requests are written.
    """

    def __init__(self, service: str, release: str, log_format: str, log_level: str) -> None:
        self._service = service
        self._release = release
        self._encode = Encoder().encode
        self._json = log_format == "json"
        self._failures_only = log_level in ("WARNING", "ERROR")

    def request_started(self) -> None:
        """Do nothing: the line is written when the request has finished."""

    def request_finished(self, exchange: Exchange) -> None:
        failed = exchange.status >= 500 or exchange.error is not None
        if self._failures_only and not failed:
            return
        environ = exchange.environ
        method = environ["REQUEST_METHOD"]
        # Bottle replaces PATH_INFO by a decoded form.
        raw_path = environ.get("bottle.raw_path") or environ["PATH_INFO"]
        path = raw_path[:1024]
        if not path.isascii():
            path = path.encode("latin-1", "replace").decode("utf-8", "replace")
        if not self._json:
            shown = path.encode("unicode_escape").decode()
            text = f"{method} {shown} {exchange.status} {exchange.seconds * 1e3:.1f} ms"
            write_line(f"{time.strftime('%H:%M:%S')} ACCESS  {text}".encode())
            return
        route = environ.get("bottle.route")
        traceparent = environ.get("HTTP_TRACEPARENT")
        trace = _match_traceparent(traceparent) if traceparent else None
        # Positional, because keyword arguments would make this call five times as expensive.
        line = AccessLine(
            datetime.now(UTC),
            "error" if failed else "info",
            "access",
            f"{method} {path} {exchange.status}",
            self._service,
            exchange.request_id,
            method,
            path,
            exchange.status,
            exchange.bytes_sent,
            int(exchange.seconds * 1e9),
            route.rule if route else "",
            environ.get("REMOTE_ADDR", ""),
            environ.get("service.client_name", ""),
            environ.get("HTTP_USER_AGENT", "")[:256],
            type(exchange.error).__name__ if exchange.error else "",
            trace[1] if trace else "",
            self._release,
        )
        write_line(self._encode(line))

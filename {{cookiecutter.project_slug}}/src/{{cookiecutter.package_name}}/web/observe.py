"""The outermost layer: what must be true of every answer, whatever made it."""

import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Protocol

from msgspec import Struct, field

from .problems import App, Environ, Headers

logger = logging.getLogger(__name__)

request_id: ContextVar[str] = ContextVar("request_id", default="")

# An id from outside goes into logs and headers, so only a harmless one is taken over.
_harmless_id = re.compile(r"[A-Za-z0-9._-]{8,64}").fullmatch

# What an answer says of itself if its handler says nothing else.
# https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
DEFAULT_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
]


@lru_cache(maxsize=256)
def _missing(names: tuple[str, ...]) -> Headers:
    """Return the defaults for what is not there: answers have a few sets of headers, not more."""
    present = {name.lower() for name in names}
    return [header for header in DEFAULT_HEADERS if header[0].lower() not in present]


class Exchange(Struct):
    """One request and what became of it; `error` is what cut a streamed answer off."""

    environ: Environ
    request_id: str
    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    status: int = 500  # if nothing else is answered
    sent: int = 0
    error: BaseException | None = None


class Recorder(Protocol):
    """Is told of each exchange when it begins, and when its last byte was handed over."""

    def begin(self) -> None: ...
    def end(self, exchange: Exchange) -> None: ...


class Observe:
    """WSGI middleware: gives each request its id, each answer its headers, each end its records."""

    def __init__(self, app: App, recorders: Collection[Recorder]) -> None:
        self._app = app
        self._begin = [recorder.begin for recorder in recorders]
        self._ends = [recorder.end for recorder in recorders]

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        own_id = given if _harmless_id(given) else os.urandom(16).hex()
        environ["service.request_id"] = own_id
        request_id.set(own_id)
        exchange = Exchange(environ, own_id)
        for begin in self._begin:
            begin()

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            exchange.status = int(status[:3])
            missing = _missing(tuple([name for name, _ in headers]))
            return start_response(status, [*headers, ("X-Request-ID", own_id), *missing], exc_info)

        try:
            body = self._app(environ, start)
        except BaseException as error:  # the server's own start_response may fail
            exchange.error = error
            self._end(exchange)
            raise
        if isinstance(body, list):
            exchange.sent = sum(map(len, body))
            self._end(exchange)
            return body
        return ObservedBody(body, exchange, self._end)

    def _end(self, exchange: Exchange) -> None:
        exchange.seconds = time.perf_counter() - exchange.started
        for end in self._ends:
            try:
                end(exchange)
            except Exception:  # the answer is not lost with its record
                logger.exception("exchange not recorded")
        # What the server logs from here on belongs to no request.
        request_id.set("")


class ObservedBody:
    """A streamed answer: counted, and recorded when the server closes it."""

    def __init__(
        self, body: Iterable[bytes], exchange: Exchange, end: Callable[[Exchange], None]
    ) -> None:
        self._body = body
        self._exchange = exchange
        self._end: Callable[[Exchange], None] | None = end

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._body:
                self._exchange.sent += len(chunk)
                yield chunk
        except (Exception, SystemExit) as error:
            self._exchange.error = error
            logger.exception("answer failed half-way")
            raise

    def close(self) -> None:
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            if self._end:
                end, self._end = self._end, None
                end(self._exchange)

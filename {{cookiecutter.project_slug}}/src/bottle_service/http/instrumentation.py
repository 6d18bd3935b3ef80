"""Outermost middleware: request ID, default security headers, and records of every response."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from time import perf_counter
from typing import Any

from ..telemetry.exchange import Exchange, Recorder
from .problems import Environ, Headers, WSGIApp
from .request_id import accept_or_create, request_id
from .security_headers import missing_headers

__all__ = ["InstrumentationMiddleware"]

logger = logging.getLogger(__name__)


class InstrumentationMiddleware:
    """WSGI middleware that completes every response and passes its exchange to the recorders.

    An exchange is recorded once: when the body is complete, or when the server closes a streamed
    body.
    """

    def __init__(self, app: WSGIApp, recorders: Collection[Recorder]) -> None:
        self._app = app
        self._started = [recorder.request_started for recorder in recorders]
        self._finished = [recorder.request_finished for recorder in recorders]

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        own_id = accept_or_create(environ.get("HTTP_X_REQUEST_ID", ""))
        environ["service.request_id"] = own_id
        request_id.set(own_id)
        exchange = Exchange(environ, own_id, perf_counter())
        for request_started in self._started:
            request_started()

        called = False
        sent: Headers = []

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            nonlocal called, sent
            sent = headers
            # Only a second call needs exc_info (PEP 3333). uWSGI 2.0.30 drops the body of a
            # response whose first call has it.
            exc_info, called = exc_info if called else None, True
            exchange.status = int(status[:3])
            added = [("X-Request-ID", own_id), *missing_headers(headers)]
            return start_response(status, headers + added, exc_info)

        try:
            body = self._app(environ, start)
        except BaseException as error:  # the server's own start_response may fail
            exchange.error = error
            self._finish(exchange)
            raise
        if isinstance(body, list):
            exchange.bytes_sent = len(body[0]) if len(body) == 1 else sum(map(len, body))
            self._finish(exchange)
            return body
        # For the server, which cuts these streams at a stop.
        environ["service.event_stream"] = any(
            name.lower() == "content-type" and value.lower().startswith("text/event-stream")
            for name, value in sent
        )
        return InstrumentedBody(body, exchange, self._finish)

    def _finish(self, exchange: Exchange) -> None:
        exchange.seconds = perf_counter() - exchange.started
        for request_finished in self._finished:
            try:
                request_finished(exchange)
            except Exception:  # the client gets its response nevertheless
                logger.exception("exchange not recorded")
        # Log entries of the server from here on belong to no request.
        request_id.set("")


class InstrumentedBody:
    """A streamed body: counts its bytes, and finishes the exchange when the server closes it."""

    def __init__(
        self, body: Iterable[bytes], exchange: Exchange, finish: Callable[[Exchange], None]
    ) -> None:
        self._body = body
        self._exchange = exchange
        self._finish: Callable[[Exchange], None] | None = finish

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._body:
                self._exchange.bytes_sent += len(chunk)
                yield chunk
        except (Exception, SystemExit) as error:
            self._exchange.error = error
            logger.exception("response failed half-way")
            raise

    def close(self) -> None:
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            if self._finish:
                finish, self._finish = self._finish, None
                finish(self._exchange)

"""Last-resort error handling: every failure produces a response and a log entry with its cause."""

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any

from bottle import HTTPError, HTTPResponse, request, response

from .problems import Environ, Problem, ProblemRenderer, WSGIApp, title

__all__ = ["ErrorMiddleware", "error_handler"]

logger = logging.getLogger(__name__)


class ErrorMiddleware:
    """WSGI middleware that turns an exception into an error response.

    Bottle's own `catchall` would hide the exception from this middleware, so it is off.
    SystemExit is caught too, because it would make Gunicorn shut the whole service down.
    """

    def __init__(self, app: WSGIApp, renderer: ProblemRenderer) -> None:
        self._app = app
        self._renderer = renderer

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        try:
            return self._app(environ, start_response)
        except HTTPError as error:
            return self._respond(environ, start_response, error)
        except (Exception, SystemExit):
            logger.exception("request failed")
            return self._respond(environ, start_response, HTTPError(500))

    def _respond(self, environ: Environ, start_response: Any, error: HTTPError) -> list[bytes]:
        headers, body = self._renderer.render(environ, error)
        headers += [("Content-Length", str(len(body))), *error.headers.items()]
        status = f"{error.status_code} {title(error.status_code)}"
        # The failed application may have called start_response already. InstrumentationMiddleware
        # passes exc_info on only then.
        start_response(status, headers, sys.exc_info())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def error_handler(renderer: ProblemRenderer) -> Callable[[HTTPError], bytes]:
    """Return a function that Bottle calls for its own errors, and for those of handlers."""

    def handle(error: HTTPError) -> bytes:
        # The exception may be a module-level constant that is raised repeatedly; keep no
        # per-request state on it.
        error.copy(HTTPResponse).apply(response)
        error.with_traceback(None)
        if error.status_code == 405:
            # Bottle leaves out OPTIONS, and HEAD for routes of GET.
            allowed = set(filter(None, error.headers.get("Allow", "").split(",")))
            allowed |= {"OPTIONS", "HEAD"} if "GET" in allowed else {"OPTIONS"}
            response.set_header("Allow", ", ".join(sorted(allowed)))
            if request.method == "OPTIONS":
                response.status = 204
                return b""
        if error.status_code >= 500:
            level = logging.WARNING if isinstance(error, Problem) else logging.ERROR
            cause = error.__cause__ or error.exception
            if isinstance(cause, Problem):  # an expected failure, which needs no traceback
                logger.log(level, "request failed: %s %s", error.body, cause.body)
            else:
                logger.log(level, "request failed: %s", error.body, exc_info=cause)
        headers, body = renderer.render(request.environ, error)
        for name, value in headers:
            response.set_header(name, value)
        return body

    return handle

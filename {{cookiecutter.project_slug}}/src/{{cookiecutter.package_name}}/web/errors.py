"""The last resort: whatever happens inside, the client gets an answer and the log the reason."""

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any

from bottle import HTTPError, HTTPResponse, request, response

from .problems import App, Environ, Problem, ProblemPages, title

logger = logging.getLogger(__name__)


class Errors:
    """WSGI middleware that turns an exception into an error answer.

    Bottle's own `catchall` would hide the exception from the layers outside, so it is off.
    SystemExit is caught too: left alone, it makes Gunicorn shut the whole service down.
    """

    def __init__(self, app: App, pages: ProblemPages) -> None:
        self._app = app
        self._pages = pages

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        try:
            return self._app(environ, start_response)
        except HTTPError as error:
            return self._answer(environ, start_response, error)
        except (Exception, SystemExit):
            logger.exception("request failed")
            return self._answer(environ, start_response, HTTPError(500))

    def _answer(self, environ: Environ, start_response: Any, error: HTTPError) -> list[bytes]:
        headers, page = self._pages.render(environ, error)
        headers += [("Content-Length", str(len(page))), *error.headers.items()]
        status = f"{error.status_code} {title(error.status_code)}"
        # Headers may have been set already, if what failed was no refusal of ours (PEP 3333).
        start_response(status, headers, None if isinstance(error, Problem) else sys.exc_info())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [page]


def error_handler(pages: ProblemPages) -> Callable[[HTTPError], bytes]:
    """Return what Bottle calls for its own errors and for those that a handler raised."""

    def handle(error: HTTPError) -> bytes:
        # One may be raised again and again: nothing of this request must stay with it.
        error.copy(HTTPResponse).apply(response)
        error.with_traceback(None)
        if error.status_code == 405:
            # Bottle leaves out what it does by itself, and OPTIONS.
            allowed = set(filter(None, error.headers.get("Allow", "").split(",")))
            allowed |= {"OPTIONS", "HEAD"} if "GET" in allowed else {"OPTIONS"}
            response.set_header("Allow", ", ".join(sorted(allowed)))
            if request.method == "OPTIONS":
                response.status = 204
                return b""
        if error.status_code >= 500:
            level = logging.WARNING if isinstance(error, Problem) else logging.ERROR
            cause = error.__cause__ or error.exception
            logger.log(level, "request failed: %s", error.body, exc_info=cause)
        headers, page = pages.render(request.environ, error)
        for name, value in headers:
            response.set_header(name, value)
        return page

    return handle

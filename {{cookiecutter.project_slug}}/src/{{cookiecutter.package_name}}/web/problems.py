"""The one form of every error answer: RFC 9457 problem details, or a page for a browser."""

import difflib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.client import responses
from typing import Any

from bottle import HTTPError
from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import asdict

from .views import Views

logger = logging.getLogger(__name__)

Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]
Headers = list[tuple[str, str]]

# RFC 9110's names, which Python has from 3.13 on.
TITLES = responses | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}

# What Bottle says in a 404 quotes the path, and its other texts are for developers.
DETAILS = {
    401: "This needs a valid bearer token in the Authorization header.",
    404: "There is nothing at this address.",
    405: "This address does not take that method; the Allow header says which it takes.",
    500: "The service failed. The request id finds the reason in its log.",
}


class FieldError(Struct):
    """One wrong place of a request: `pointer` is a JSON Pointer (RFC 6901) or a parameter."""

    pointer: str
    message: str


class ProblemDetails(Struct, omit_defaults=True):
    """https://www.rfc-editor.org/rfc/rfc9457#section-3.1"""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: Sequence[FieldError] = ()


class Problem(HTTPError):  # type: ignore[misc]
    """An error answer: raise it from anywhere in a handler.

    `detail` is for the client to read, so it must hold nothing of the inside. From status 500 on
    it is logged with the exception that it was raised from.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(status, detail, headers=headers)
        self.detail = detail
        self.errors = errors


class ProblemPages:
    """Writes errors down, in the form that the client of a request reads."""

    def __init__(self, views: Views, hints: bool = False) -> None:
        self._views = views
        self._hints = hints

    def render(self, environ: Environ, error: HTTPError) -> tuple[Headers, bytes]:
        """Return the headers that describe the body, and the body."""
        status = error.status_code
        details = ProblemDetails(
            type="about:blank",
            title=title(status),
            status=status,
            detail=getattr(error, "detail", None) or self._detail(status, environ),
            request_id=environ["service.request_id"],
            errors=getattr(error, "errors", ()),
        )
        if wants_page(environ):
            try:
                page = self._views.page("error", **asdict(details))
                return list(page.headerlist), page.body
            except Exception:
                logger.exception("the error page failed")
        return [("Content-Type", "application/problem+json")], encode(details)

    def _detail(self, status: int, environ: Environ) -> str:
        detail = DETAILS.get(status) or title(status)
        app = environ.get("bottle.app")
        if not self._hints or status != 404 or app is None:
            return detail
        close = difflib.get_close_matches(environ["PATH_INFO"], {r.rule for r in app.routes}, n=1)
        return f"{detail} Did you mean {close[0]}?" if close else detail


_asks_for_html = re.compile(r"text/html(?!\s*;\s*q=0(\.0*)?\s*(,|$))").search


def title(status: int) -> str:
    return TITLES.get(status, "Error")


def wants_page(environ: Environ) -> bool:
    """Whether a person looks at the answer: a browser's Accept header, outside the API."""
    of_api = re.match("/api(/|$)", environ.get("PATH_INFO", ""))
    return not of_api and bool(_asks_for_html(environ.get("HTTP_ACCEPT", "")))

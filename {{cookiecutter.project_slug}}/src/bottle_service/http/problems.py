"""Error responses: RFC 9457 problem details, or an HTML page for a browser."""

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

from ..views import Views

__all__ = ["Conflict", "FieldError", "Problem", "ProblemDetails", "ProblemRenderer", "title"]

logger = logging.getLogger(__name__)

Environ = dict[str, Any]
WSGIApp = Callable[[Environ, Any], Iterable[bytes]]
Headers = list[tuple[str, str]]

# The names of RFC 9110, which Python has from 3.13 on.
TITLES = responses | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}

# Bottle's own text for a 404 quotes the path, and its other texts are for developers.
DETAILS = {
    401: "This needs a valid bearer token in the Authorization header.",
    404: "There is nothing at this address.",
    405: "This address does not take that method; the Allow header lists those it takes.",
    500: "The service failed. The request ID finds the cause in its log.",
}


class FieldError(Struct):
    """One invalid value of a request; `pointer` is a JSON Pointer (RFC 6901) to it."""

    pointer: str
    message: str


class ProblemDetails(Struct, omit_defaults=True):
    """The members of problem details: https://www.rfc-editor.org/rfc/rfc9457#section-3.1"""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: Sequence[FieldError] = ()


class Problem(HTTPError):  # type: ignore[misc]
    """An error response: raise it from anywhere in a handler.

    Clients read `detail`, so it must not reveal internals. From status 500 on, the problem is
    logged together with the exception that it was raised from.
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


class Conflict(Problem):
    """A 409 because another row has the same unique values, in the columns of these names.

    The driver's text is not sent, because it quotes values of other rows.
    """

    def __init__(self, columns: Iterable[str]) -> None:
        self.columns = list(columns)
        detail = "Such an item exists already."
        if self.columns:
            detail = f"Another item has this {' and '.join(self.columns)}."
        errors = [FieldError(f"/{column}", "must be unique") for column in self.columns]
        super().__init__(409, detail, errors=errors)

    def of_request(self, fields: Mapping[str, str]) -> "Conflict":
        """Return the conflict for a client that sends these fields, by the names of the columns.

        A column that is no field, such as one that the handler sets, has no name for the client.
        """
        sent = [fields[column] for column in self.columns if column in fields]
        conflict = Conflict(sent)
        if len(sent) < len(self.columns):
            conflict.detail = Conflict([]).detail
        return conflict


class ProblemRenderer:
    """Render errors as JSON or as the view `error`, by the client's Accept header.

    With `hints` a 404 suggests the closest route.
    """

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
        if _prefers_html(environ):
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


def title(status: int) -> str:
    """Return the name of a status, such as "Not Found"."""
    return TITLES.get(status, "Error")


_accepts_html = re.compile(r"text/html(?!\s*;\s*q=0(\.0*)?\s*(,|$))").search


def _prefers_html(environ: Environ) -> bool:
    """Return whether a browser asks: text/html is accepted, and the path is outside /api."""
    in_api = re.match("/api(/|$)", environ.get("PATH_INFO", ""))
    return not in_api and bool(_accepts_html(environ.get("HTTP_ACCEPT", "")))

"""OpenAPI 3.1: the document of a service, and a page that shows it.

document    routes become operations         schemas     types become JSON Schemas
page        the page /docs                   examples    types become example values
"""

import inspect
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256

import msgspec
from bottle import HTTPResponse, request

from ..assets import is_unchanged
from ..http.routing import ServiceBottle
from ..startup import StartupError, StartupProblem
from .document import Document, Operation
from .page import headers, render

__all__ = ["OpenAPI"]


class OpenAPI:
    """The responses of /openapi.json and /docs; they are the same for every client.

    `variables` are those of views: `service` is the title. `url_prefix` is the path of the service
    on its host.
    """

    # The application, when all of its routes are there.
    app: ServiceBottle

    def __init__(self, variables: Mapping[str, str], url_prefix: str = "") -> None:
        self._info = {
            "title": variables.get("service", "API"),
            "description": variables.get("description", ""),
        }
        self._url_prefix = url_prefix

    @cached_property
    def _document(self) -> Document:
        return Document(self.app, self._info, self._url_prefix or "/")

    @cached_property
    def _json(self) -> "_Static":
        content = msgspec.json.encode(self.content())
        return _Static(content, {"Content-Type": "application/json"})

    @cached_property
    def _page(self) -> "_Static":
        text = render(self._document, self._url_prefix)
        return _Static(text.encode(), headers())

    def problems(self) -> list[StartupProblem]:
        """Return what the document cannot express, if a handler of the service serves it."""
        handlers = [route.callback for route in self.app.routes if not route.config.get("raw")]
        is_served = any("openapi" in inspect.signature(one).parameters for one in handlers)
        return self._document.problems if is_served else []

    @property
    def operations(self) -> list[Operation]:
        """The operations, in the order of the routing table."""
        return self._document.operations

    def content(self) -> dict[str, object]:
        """Return the document. Raises StartupError if it cannot express a route or a type."""
        if self._document.problems:
            raise StartupError(self._document.problems)
        return self._document.content

    def document(self) -> HTTPResponse:
        """Return the document as the response to the present request."""
        return self._json.respond()

    def page(self) -> HTTPResponse:
        """Return the page as the response to the present request."""
        return self._page.respond()


class _Static:
    """A response that never changes."""

    def __init__(self, content: bytes, headers: Mapping[str, str]) -> None:
        self._content = content
        self._etag = f'"{sha256(content).hexdigest()[:16]}"'
        validators = {"ETag": self._etag, "Cache-Control": "no-cache"}
        self._headers = {**headers, **validators}
        self._unchanged = validators

    def respond(self) -> HTTPResponse:
        """Return the content, or 304 if the client has it already."""
        tags = request.environ.get("HTTP_IF_NONE_MATCH")
        if tags is not None and is_unchanged(self._etag, tags):
            return HTTPResponse(status=304, headers=self._unchanged)
        return HTTPResponse(self._content, headers=self._headers)

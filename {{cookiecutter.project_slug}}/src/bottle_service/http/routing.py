"""Routing: validate routes at startup, then freeze the application."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from string import punctuation
from types import MappingProxyType
from typing import Any, NoReturn
from urllib.parse import quote

import bottle
from bottle import Bottle, HTTPResponse, Route, request, response
from msgspec import Struct

from ..startup import StartupError, StartupProblem
from .problems import Environ, WSGIApp
from .request_context import patched_too_late

__all__ = [
    "JSONBody",
    "ServiceBottle",
    "access_of",
    "freeze",
    "handler_name",
    "is_redirect",
    "validate_routes",
]

# The options of a route that plugins of this package read; a service's own plugins may have more.
OPTIONS = (
    *("admin", "consumes", "deprecated", "etag", "idempotent", "location", "max_body", "next_page"),
    *("public", "raw", "redirect_slashes", "responses", "role", "status", "summary", "tags"),
)


NO_BODY = frozenset({100, 101, 204, 304})  # RFC 9110, section 6.4.1


class JSONBody(Struct):
    """The encoded result of a typed handler."""

    content: bytes


class ServiceBottle(Bottle):  # type: ignore[misc]
    """A Bottle that sends JSON directly, and redirects trailing slashes where a route asks for it."""

    # The application with its middleware: `app.wsgi = Middleware(app.wsgi)` adds more.
    wsgi: WSGIApp
    # What handlers and commands get, by parameter name.
    dependencies: Mapping[str, Any]

    def __init__(self, dependencies: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__()
        self.wsgi = self._respond
        self.dependencies = dependencies

    def _respond(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Respond to a request: Bottle's own method without `catchall`, and direct for JSONBody.

        Bottle's handling of headers takes half of the time of a small response.
        """
        out = self._handle(environ)
        is_head = environ["REQUEST_METHOD"] == "HEAD"  # RFC 9110, section 9.3.2
        if type(out) is JSONBody and response.status_code not in NO_BODY:
            headers = [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(out.content))),
            ]
            if response._headers or response._cookies:  # set by the handler or its route
                headers = _merge(headers, response.headerlist)
            start_response(response._wsgi_status_line(), headers)
            return [] if is_head else [out.content]
        body: Iterable[bytes] = self._cast(b"" if type(out) is JSONBody else out)
        # Bottle may have set the status of an error meanwhile.
        if is_head or response.status_code in NO_BODY:
            if hasattr(body, "close"):
                body.close()
            body = []
        start_response(response._wsgi_status_line(), response.headerlist)
        return body

    def route(
        self, path: Any = None, method: Any = "GET", callback: Any = None, **options: Any
    ) -> Any:
        """Add a route, as Bottle does."""
        if isinstance(options.get("responses"), dict):
            # Bottle would make an option of each item, and rejects numbers.
            options["responses"] = MappingProxyType(options["responses"])
        return super().route(path, method, callback, **options)

    def add_route(self, route: Route) -> None:
        """Add the route; with `redirect_slashes=True` also a 308 redirect from its address + "/"."""
        super().add_route(route)
        if route.config.get("redirect_slashes"):
            rule = f"{route.rule.rstrip('/')}/"
            redirect = Route(self, rule, route.method, _redirect_to_path, raw=True, public=True)
            super().add_route(redirect)

    def __setattr__(self, name: str, value: Any) -> None:
        # Bottle allows one assignment to each attribute.
        if name == "wsgi":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)


def _merge(headers: list[tuple[str, str]], more: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers and more; of Content-Type and Content-Length the former ones."""
    return headers + [
        header for header in more if header[0] not in ("Content-Type", "Content-Length")
    ]


def _redirect_to_path(**_wildcards: Any) -> HTTPResponse:
    # A single leading slash, because `//evil.example/` would name another host.
    path = "/" + request.path.strip("/")
    # Keep the query as the client sent it, except for characters that no header can hold.
    query = quote(request.environ.get("QUERY_STRING", ""), punctuation, "latin-1")
    location = quote(path) + (f"?{query}" if query else "")
    return HTTPResponse(status=308, headers={"Location": location})


def access_of(route: Route) -> str:
    """Return who may call the route: "public", "token" or "admin"."""
    if route.config.get("admin"):
        return "admin"
    return "public" if route.config.get("public") else "token"


def handler_name(route: Route) -> str:
    """Return the name of the route's handler in the service's package, such as routes.notes.show."""
    handler = route.callback
    return f"{handler.__module__.partition('.')[2]}.{handler.__qualname__}"


def is_redirect(route: Route) -> bool:
    """Return whether `redirect_slashes` of another route has added the route."""
    return route.callback is _redirect_to_path


def freeze(app: Bottle) -> None:
    """Validate the routes, then reject every later change of the application.

    Raises StartupError with all problems of the routes.
    """
    if problems := list(validate_routes(app)):
        raise StartupError(problems)
    for name in ("add_route", "add_hook", "install", "uninstall", "mount", "merge"):
        setattr(app, name, _refuse_change)


def validate_routes(app: Bottle) -> Iterator[StartupProblem]:
    """Prepare each route and yield its problems, so that mistakes surface before a request."""
    seen: dict[tuple[str, str], str] = {}
    for route in app.routes:
        name = f"{route.method} {route.rule}"
        # Bottle silently takes the last of two equal rules, and the first of two that match.
        shape = re.sub(r"<[^>:]*", "<", route.rule)
        hiding = {shape, re.sub(r"<(?![^>]*:path>)[^>]*", "<", route.rule)}
        if "<" in shape:  # Bottle tries rules without wildcards before all others
            hiding |= {f"{shape[: slash.end()]}<:path>" for slash in re.finditer("/", shape)}
        for other in hiding:
            if hider := seen.get((route.method, other)):
                yield StartupProblem("", f"is hidden by {hider}", name)
        seen[route.method, shape] = name
        for option in set(route.config).difference(OPTIONS, app.config):
            if meant := difflib.get_close_matches(option, OPTIONS, n=1):
                reason = f"unknown option {option!r}; did you mean {meant[0]}?"
                yield StartupProblem("", reason, name)
        try:
            # Otherwise Bottle prepares a route at its first request, once in each thread.
            route.prepare()
        except Exception as error:  # raised by HandlerPlugin, or by the handler's annotations
            yield StartupProblem("", str(error), name)
    for application in list(bottle.app):
        for route in application.routes:
            reason = "is on Bottle's global application; add it to the routing table"
            yield StartupProblem("", reason, f"{route.method} {route.rule}")
    if patched_too_late():
        reason = "has patched threads after Bottle was imported; patch first"
        yield StartupProblem("", reason, "gevent")


def _refuse_change(*_arguments: Any, **_options: Any) -> NoReturn:
    # Bottle responds with 404 to some requests while a route is being added.
    raise RuntimeError("the application is frozen: add routes, hooks and plugins before it starts")

"""Trailing slashes: a route has one address, and may ask that the other one leads to it."""

from string import punctuation
from typing import Any
from urllib.parse import quote

from bottle import Bottle, HTTPResponse, Route, request


class Redirecting(Bottle):  # type: ignore[misc]
    """A Bottle whose routes with `redirect_slash=True` are followed by one that answers 308."""

    def add_route(self, route: Route) -> None:
        super().add_route(route)
        if route.config.get("redirect_slash"):
            rule = f"{route.rule.rstrip('/')}/"
            super().add_route(Route(self, rule, route.method, _redirect, raw=True, public=True))


def _redirect(**_wildcards: Any) -> HTTPResponse:
    # Of the path alone, with a single slash: `//evil.example/` must not become another host.
    path = "/" + request.path.strip("/")
    # Its query as the client wrote it, but for what no header can hold.
    query = quote(request.environ.get("QUERY_STRING", ""), punctuation, "latin-1")
    location = quote(path) + (f"?{query}" if query else "")
    return HTTPResponse(status=308, headers={"Location": location})

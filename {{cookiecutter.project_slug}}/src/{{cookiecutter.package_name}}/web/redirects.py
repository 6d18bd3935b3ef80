"""Trailing slashes: a route has one address, and may ask that the other one leads to it."""

from typing import Any
from urllib.parse import quote

from bottle import Bottle, HTTPResponse, request


def add_redirects(app: Bottle) -> None:
    """Add, for each route with `redirect_slash=True`, one that answers 308 to it."""
    for route in list(app.routes):
        if route.config.get("redirect_slash"):
            app.route(f"{route.rule.rstrip('/')}/", route.method, _redirect, raw=True, public=True)


def _redirect(**_wildcards: Any) -> HTTPResponse:
    # Of the path alone, with a single slash: `//evil.example/` must not become another host.
    path = "/" + request.path.strip("/")
    query = request.environ.get("QUERY_STRING")
    location = quote(path) + (f"?{query}" if query else "")
    return HTTPResponse(status=308, headers={"Location": location})

"""Who may call: every route asks for a bearer token (RFC 6750) unless it is public."""

import re
from collections.abc import Callable
from typing import Any

from bottle import Route, request

from ..settings import TOKEN
from .problems import DETAILS, Problem

_credentials = re.compile(f"(?i:bearer) +({TOKEN})").fullmatch


NameOf = Callable[[str], str | None]


def _hidden(**_wildcards: Any) -> None:
    raise Problem(404, DETAILS[404])


class BearerPlugin:
    """Bottle plugin. `caller_name` returns whose a token is, or None.

    A route with `admin=True` asks `admin_name` instead; without one it answers 404. The name is
    put into the environ as `service.caller`, for the access line.
    """

    name = "bearer"
    api = 2

    def __init__(self, caller_name: NameOf, admin_name: NameOf | None) -> None:
        self._caller_name = caller_name
        self._admin_name = admin_name

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        if route.config.get("public"):
            return callback
        name_of = self._admin_name if route.config.get("admin") else self._caller_name
        if name_of is None:
            return _hidden

        def guarded(**wildcards: Any) -> Any:
            environ = request.environ
            match = _credentials(environ.get("HTTP_AUTHORIZATION", ""))
            caller = name_of(match[1]) if match else None
            if caller is None:
                raise Problem(401, DETAILS[401], headers={"WWW-Authenticate": "Bearer"})
            environ["service.caller"] = caller
            return callback(**wildcards)

        return guarded

"""Who may call: every route asks for a bearer token (RFC 6750) unless it is public."""

import re
from collections.abc import Callable
from typing import Any

from bottle import Route, request

from .problems import Problem

_credentials = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)").fullmatch


class BearerPlugin:
    """Bottle plugin. `name_of` returns whose a token is, or None.

    The caller's name is put into the environ as `service.caller`, for the access line.
    """

    name = "bearer"
    api = 2

    def __init__(self, name_of: Callable[[str], str | None]) -> None:
        self._name_of = name_of

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        if route.config.get("public"):
            return callback
        name_of = self._name_of

        def guarded(**wildcards: Any) -> Any:
            environ = request.environ
            match = _credentials(environ.get("HTTP_AUTHORIZATION", ""))
            caller = name_of(match[1]) if match else None
            if caller is None:
                raise Problem(
                    401,
                    "This needs a valid bearer token in the Authorization header.",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            environ["service.caller"] = caller
            return callback(**wildcards)

        return guarded

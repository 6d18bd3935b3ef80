"""Authentication: every route requires a bearer token (RFC 6750) unless it is public."""

import re
from collections.abc import Callable
from typing import Any

from bottle import Route, request

from ..settings import TOKEN
from .problems import DETAILS, Problem

__all__ = ["Authenticator", "BearerAuthPlugin"]

# Returns the name of the client with this token, or None.
Authenticator = Callable[[str], str | None]

_match_credentials = re.compile(f"(?i:bearer) +({TOKEN})").fullmatch


class BearerAuthPlugin:
    """Bottle plugin that rejects requests without a valid token with 401.

    Routes with `public=True` need no token. Routes with `admin=True` use `authenticate_admin`; if
    that is None they respond with 404. The client's name is stored in the WSGI environ as
    `service.client_name`, for the access log.
    """

    name = "bearer_auth"
    api = 2

    def __init__(
        self, authenticate_client: Authenticator, authenticate_admin: Authenticator | None
    ) -> None:
        self._authenticate_client = authenticate_client
        self._authenticate_admin = authenticate_admin

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        if route.config.get("public"):
            return callback
        admin = route.config.get("admin")
        authenticate = self._authenticate_admin if admin else self._authenticate_client
        if authenticate is None:
            return _not_found

        def authenticated(**wildcards: Any) -> Any:
            environ = request.environ
            credentials = _match_credentials(environ.get("HTTP_AUTHORIZATION", ""))
            client_name = authenticate(credentials[1]) if credentials else None
            if client_name is None:
                raise Problem(401, DETAILS[401], headers={"WWW-Authenticate": "Bearer"})
            environ["service.client_name"] = client_name
            return callback(**wildcards)

        return authenticated


def _not_found(**_wildcards: Any) -> None:
    raise Problem(404, DETAILS[404])

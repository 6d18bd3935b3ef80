"""Authentication: every route requires a bearer token (RFC 6750) unless it is public.

A service with sessions of people accepts the cookie of a session, too.
"""

import re
from collections.abc import Callable, Set
from typing import Any

from bottle import Route, request

from ..settings import TOKEN
from .problems import DETAILS, Environ, Problem
from .routing import access_of

__all__ = [
    "Authenticator",
    "BearerAuthPlugin",
    "RolesOf",
    "SessionAuthenticator",
    "no_roles",
    "require_same_origin",
]

# Returns the name of the client with this token, or None.
Authenticator = Callable[[str], str | None]
# Returns the name of the client whose session the request's cookie names, or None.
SessionAuthenticator = Callable[[Environ], str | None]
# Returns the roles of the client with this name.
RolesOf = Callable[[str], Set[str]]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110, section 9.2.1

_match_credentials = re.compile(f"(?i:bearer) +({TOKEN})").fullmatch


def no_roles(_client_name: str) -> Set[str]:
    """Return no roles: the `roles_of` of a service without the option `role`."""
    return frozenset()


class BearerAuthPlugin:
    """Bottle plugin that rejects requests without a valid token with 401.

    Routes with `public=True` need no token. Routes with `admin=True` use `authenticate_admin`; if
    that is None they respond with 404. The client's name is stored in the WSGI environ as
    `service.client_name`, for the access log and for handlers. Routes with `role="editor"` respond
    with 403 to clients for whom `roles_of` returns no such role.

    Without an Authorization header, routes other than admin routes use `authenticate_session`. The
    request must then come from a page of the same origin, unless its method is safe: a browser sends
    the cookie also with the forms of other sites (CSRF).
    """

    name = "bearer_auth"
    api = 2

    def __init__(
        self,
        authenticate_client: Authenticator,
        authenticate_admin: Authenticator | None,
        authenticate_session: SessionAuthenticator | None = None,
        roles_of: RolesOf = no_roles,
    ) -> None:
        self._authenticate_client = authenticate_client
        self._authenticate_admin = authenticate_admin
        self._authenticate_session = authenticate_session
        self._roles_of = roles_of

    def schemes(self, route: Route) -> list[str]:
        """Return the credentials that the route accepts: token, session, admin; [] if it is public."""
        access = access_of(route)
        if access == "public":
            return []
        has_sessions = access == "token" and self._authenticate_session is not None
        return [access, "session"] if has_sessions else [access]

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        role, roles_of = route.config.get("role"), self._roles_of
        if role is not None and not (isinstance(role, str) and role):
            raise TypeError(f"has the role {role!r}, which is not a text")
        if role is not None and access_of(route) != "token":
            raise TypeError(f"has the option `role`; remove it, or the option `{access_of(route)}`")
        if role is not None and roles_of is no_roles:
            raise TypeError("has the option `role`; pass `roles_of` to build_application in app.py")
        if route.config.get("public"):
            return callback
        admin = route.config.get("admin")
        authenticate = self._authenticate_admin if admin else self._authenticate_client
        if authenticate is None:
            return _not_found
        authenticate_session = None if admin else self._authenticate_session

        def authenticated(**wildcards: Any) -> Any:
            environ = request.environ
            authorization = environ.get("HTTP_AUTHORIZATION", "")
            credentials = _match_credentials(authorization)
            client_name = authenticate(credentials[1]) if credentials else None
            if authenticate_session and not authorization:
                client_name = authenticate_session(environ)
                if client_name is not None and environ["REQUEST_METHOD"] not in SAFE_METHODS:
                    require_same_origin(environ)
            if client_name is None:
                raise Problem(401, DETAILS[401], headers={"WWW-Authenticate": "Bearer"})
            environ["service.client_name"] = client_name
            # A set, because "edit" is in the text "editor".
            if role is not None and role not in {*roles_of(client_name)}:
                raise Problem(403, f"This needs the role {str.__str__(role)!r}.")
            return callback(**wildcards)

        return authenticated


def require_same_origin(environ: Environ) -> None:
    """Raise Problem 403 if the request does not come from a page of the same origin.

    Browsers send Sec-Fetch-Site over HTTPS and to localhost; older ones send only Origin
    (https://www.w3.org/TR/fetch-metadata/, https://fetch.spec.whatwg.org/#origin-header). A request
    with neither does not come from a browser that protects its user.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is None:
        own = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST')}"
        is_allowed = environ.get("HTTP_ORIGIN") == own
    else:
        is_allowed = site in ("same-origin", "none")  # none: typed by the user, not sent by a page
    if not is_allowed:
        raise Problem(403, "This request must come from a page of this service.")


def _not_found(**_wildcards: Any) -> None:
    raise Problem(404, DETAILS[404])

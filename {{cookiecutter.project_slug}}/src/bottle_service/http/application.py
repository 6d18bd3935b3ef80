"""Build the WSGI application: a Bottle with all routes, plugins and middleware."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from bottle import Bottle

from ..telemetry.exchange import Recorder
from .auth import Authenticator, BearerAuthPlugin, RolesOf, SessionAuthenticator, no_roles
from .body_limit import BodyLimitPlugin, largest_body
from .cors import CORSMiddleware
from .errors import ErrorMiddleware, error_handler
from .handlers import HandlerPlugin
from .instrumentation import InstrumentationMiddleware
from .problems import ProblemRenderer, WSGIApp
from .proxy_headers import ProxyHeadersMiddleware
from .request_context import RequestContextMiddleware
from .routing import ServiceBottle, freeze
from .sanitize import SanitizeRequestMiddleware
from .wildcards import add_filters

__all__ = ["build_http_application"]


def build_http_application(
    add_routes: Callable[[Bottle], None],
    *,
    dependencies: Mapping[str, Any],
    authenticate_client: Authenticator,
    authenticate_admin: Authenticator | None,
    problem_renderer: ProblemRenderer,
    recorders: Collection[Recorder],
    cors_origins: Collection[str],
    trusted_proxy_count: int,
    max_body_bytes: int,
    authenticate_session: SessionAuthenticator | None = None,
    roles_of: RolesOf = no_roles,
) -> ServiceBottle:
    """Return a Bottle with these routes that is ready to be served.

    `dependencies` are injected into handlers by parameter name; a RequestScoped one is opened for
    each request. More middleware is added around the result: `app.wsgi = Middleware(app.wsgi)`.
    Raises StartupError for routes that could never work.
    """
    app = ServiceBottle(dependencies)
    app.catchall = False  # ErrorMiddleware logs and renders exceptions
    app.uninstall(True)  # HandlerPlugin replaces Bottle's own plugins
    app.install(
        BearerAuthPlugin(authenticate_client, authenticate_admin, authenticate_session, roles_of)
    )
    app.install(BodyLimitPlugin(max_body_bytes))
    app.install(HandlerPlugin(dependencies))
    app.default_error_handler = error_handler(problem_renderer)
    add_filters(app)
    add_routes(app)
    freeze(app)
    wsgi: WSGIApp = RequestContextMiddleware(app.wsgi)
    wsgi = SanitizeRequestMiddleware(wsgi, largest_body(app, max_body_bytes))
    wsgi = ProxyHeadersMiddleware(wsgi, trusted_proxy_count)
    wsgi = ErrorMiddleware(wsgi, problem_renderer)
    if cors_origins:
        wsgi = CORSMiddleware(wsgi, cors_origins)
    app.wsgi = InstrumentationMiddleware(wsgi, recorders)
    return app

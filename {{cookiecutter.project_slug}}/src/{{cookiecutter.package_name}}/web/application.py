"""The layers, in their one order, round a Bottle whose routes are all prepared."""

from collections.abc import Callable, Mapping
from typing import Any

from bottle import Bottle

from ..environment import BootError, Problem
from .bearer import BearerPlugin
from .errors import Errors, error_handler
from .forwarded import Forwarded
from .handlers import HandlerPlugin, RouteError
from .hygiene import Hygiene
from .observe import Exchange, Observe
from .problems import ProblemPages


def new_application(
    add_routes: Callable[[Bottle], None],
    *,
    resources: Mapping[str, Any],
    caller_name: Callable[[str], str | None],
    pages: ProblemPages,
    record: Callable[[Exchange], None],
    trusted_proxies: int,
    max_body_bytes: int,
) -> Bottle:
    """Return a Bottle with these routes that is safe to serve.

    A request passes: observe, errors, forwarded, hygiene, Bottle's routing, bearer, handler.
    Raises BootError for routes that could never work.
    """
    app = Bottle()
    app.catchall = False
    app.uninstall(True)
    app.install(BearerPlugin(caller_name))
    app.install(HandlerPlugin(resources))
    app.default_error_handler = error_handler(pages)
    app.router.add_filter("id", _positive_integer)
    add_routes(app)
    # Bottle prepares a route at its first request, in as many threads as ask for it at once.
    problems = []
    for route in app.routes:
        try:
            route.prepare()
        except RouteError as error:
            problems.append(Problem("", str(error), f"{route.method} {route.rule}"))
    if problems:
        raise BootError(problems)
    hygiene = Hygiene(app.wsgi, max_body_bytes)
    forwarded = Forwarded(hygiene, trusted_proxies)
    errors = Errors(forwarded, pages)
    app.wsgi = Observe(errors, record)
    return app


def _positive_integer(_config: Any) -> tuple[str, Callable[[str], int], Callable[[int], str]]:
    # At most 18 digits: every one of them fits the 64 bits of a database column.
    return r"[1-9][0-9]{0,17}", int, str

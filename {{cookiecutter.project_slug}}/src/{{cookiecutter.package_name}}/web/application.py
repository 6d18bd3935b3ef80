"""The layers, in their one order, round a Bottle whose routes are all prepared."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from bottle import Bottle

from .bearer import BearerPlugin
from .confine import Confine
from .cors import Cors
from .errors import Errors, error_handler
from .forwarded import Forwarded
from .handlers import HandlerPlugin
from .hygiene import Hygiene
from .observe import Observe, Recorder
from .problems import ProblemPages
from .redirects import Redirecting
from .seal import seal


def new_application(
    add_routes: Callable[[Bottle], None],
    *,
    resources: Mapping[str, Any],
    caller_name: Callable[[str], str | None],
    admin_name: Callable[[str], str | None] | None,
    pages: ProblemPages,
    recorders: Collection[Recorder],
    cors_origins: Collection[str],
    trusted_proxies: int,
    max_body_bytes: int,
) -> Bottle:
    """Return a Bottle with these routes that is safe to serve.

    A request passes: observe, cors (if there are origins), errors, forwarded, hygiene, confine,
    Bottle's routing, bearer, handler.
    Raises BootError for routes that could never work.
    """
    app = Redirecting()
    app.catchall = False
    app.uninstall(True)
    app.install(BearerPlugin(caller_name, admin_name))
    app.install(HandlerPlugin(resources))
    app.default_error_handler = error_handler(pages)
    # At most 18 digits: every one of them fits the 64 bits of a database column.
    app.router.add_filter("id", lambda _config: (r"[1-9][0-9]{0,17}", int, str))
    add_routes(app)
    seal(app)
    hygiene = Hygiene(Confine(app.wsgi), max_body_bytes)
    forwarded = Forwarded(hygiene, trusted_proxies)
    errors = Errors(forwarded, pages)
    app.wsgi = Observe(Cors(errors, cors_origins) if cors_origins else errors, recorders)
    return app

"""One request, one context: refuses to answer where Bottle would mix requests up."""

import sys
from collections.abc import Iterable
from typing import Any

import bottle

from .problems import App, Environ


class Confine:
    """WSGI middleware round Bottle, whose `request` is bound to a thread.

    Greenlets share a thread. If gevent patches `threading` after Bottle was imported, as with
    Gunicorn's `preload_app`, concurrent requests read each other's parameters. And a handler
    that calls another Bottle application leaves that one's request behind. Both raise here.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if greenlets_share_requests():
            raise RuntimeError("greenlets share bottle.request: patch with gevent before Bottle")

        def start(status: str, headers: Any, exc_info: Any = None) -> Any:
            if bottle.request.environ is not environ:
                raise RuntimeError("bottle.request is another request's: was an app called inside?")
            return start_response(status, headers, exc_info)

        return self._app(environ, start)


# What `bottle.request` is bound to, as gevent found or made it when Bottle was imported.
_bound_to_threads = type(bottle.local).__module__ == "_thread"


def greenlets_share_requests() -> bool:
    """Whether this runs in a greenlet, with Bottle's context bound to the thread."""
    greenlet = sys.modules.get("greenlet") if _bound_to_threads else None
    return greenlet is not None and greenlet.getcurrent().parent is not None


def patched_too_late() -> bool:
    """Whether gevent has patched `threading` after Bottle was imported."""
    monkey = sys.modules.get("gevent.monkey") if _bound_to_threads else None
    return monkey is not None and monkey.is_module_patched("threading")

"""One request, one context: refuses to answer where Bottle would mix requests up."""

import sys
from collections.abc import Iterable
from typing import Any

import bottle

from .problems import Environ


class Confine:
    """WSGI middleware round Bottle, whose `request` is bound to a thread.

    Greenlets share a thread. If gevent patches `threading` after Bottle was imported, as with
    Gunicorn's `preload_app`, concurrent requests read each other's parameters. And a handler
    that calls another Bottle application leaves that one's request behind. Both raise here.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if greenlets_share_requests():
            raise RuntimeError("greenlets share bottle.request: patch with gevent before Bottle")

        def start(status: str, headers: Any, exc_info: Any = None) -> Any:
            if bottle.request.environ is not environ:
                raise RuntimeError("bottle.request is another request's: was an app called inside?")
            return start_response(status, headers, exc_info)

        body: Iterable[bytes] = self._app(environ, start)
        return body


def greenlets_share_requests() -> bool:
    """Whether this runs in a greenlet, with Bottle's context bound to the thread."""
    greenlet = sys.modules.get("greenlet")
    if greenlet is None or greenlet.getcurrent().parent is None:
        return False
    return type(bottle._lctx).__module__ == "_thread"


def patched_too_late() -> bool:
    """Whether gevent has patched `threading` after Bottle was imported."""
    monkey = sys.modules.get("gevent.monkey")
    patched = monkey is not None and monkey.is_module_patched("threading")
    return patched and type(bottle._lctx).__module__ == "_thread"

"""Keep requests apart: fail where Bottle would mix them up."""

import sys
from collections.abc import Iterable
from typing import Any

import bottle

from .problems import Environ, WSGIApp

__all__ = ["RequestContextMiddleware", "greenlets_share_requests", "patched_too_late"]


class RequestContextMiddleware:
    """WSGI middleware around Bottle, whose `request` is bound to a thread.

    Greenlets share a thread: if gevent patches `threading` after Bottle was imported, as with
    Gunicorn's `preload_app`, concurrent requests read each other's parameters. And a handler that
    calls another Bottle application has that application's request afterwards. Both raise
    RuntimeError here.
    """

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if greenlets_share_requests():
            raise RuntimeError("greenlets share bottle.request: patch with gevent before Bottle")

        def start(status: str, headers: Any, exc_info: Any = None) -> Any:
            if bottle.request.environ is not environ:
                raise RuntimeError("bottle.request is another request: was an app called inside?")
            return start_response(status, headers, exc_info)

        return self._app(environ, start)


# Whether `bottle.request` is bound to a thread; gevent may replace this before Bottle's import.
_bound_to_threads = type(bottle.local).__module__ == "_thread"


def greenlets_share_requests() -> bool:
    """Return whether this is a greenlet while Bottle's request is bound to the thread."""
    greenlet = sys.modules.get("greenlet") if _bound_to_threads else None
    return greenlet is not None and greenlet.getcurrent().parent is not None


def patched_too_late() -> bool:
    """Return whether gevent patched `threading` after Bottle was imported."""
    monkey = sys.modules.get("gevent.monkey") if _bound_to_threads else None
    return monkey is not None and monkey.is_module_patched("threading")

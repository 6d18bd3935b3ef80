"""Cross-origin requests: https://fetch.spec.whatwg.org/#http-cors-protocol"""

from collections.abc import Collection, Iterable
from typing import Any

from .problems import Environ, Headers, WSGIApp

__all__ = ["CORSMiddleware"]

# The headers that scripts may send and read besides those that are always allowed.
ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID"
)
EXPOSED_HEADERS = "ETag, Link, Location, Retry-After, X-Request-ID"
MAX_AGE = "7200"  # seconds; Chromium keeps a preflight response no longer


class CORSMiddleware:
    """WSGI middleware that allows scripts of these origins to call the service.

    It wraps ErrorMiddleware, so that scripts can read error responses too. Cookies are not
    allowed: scripts send bearer tokens.
    """

    def __init__(self, app: WSGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN", "")
        allowed = origin in self._origins
        wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "")

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            # The default policy, same-origin, would keep the response from the script.
            policy = "cross-origin" if allowed else "same-origin"
            added = [("Vary", "Origin"), ("Cross-Origin-Resource-Policy", policy)]
            if allowed:
                added.append(("Access-Control-Allow-Origin", origin))
                added.append(("Access-Control-Expose-Headers", EXPOSED_HEADERS))
            if allowed and wanted and environ["REQUEST_METHOD"] == "OPTIONS":
                added.append(("Access-Control-Allow-Methods", dict(headers).get("Allow", "")))
                added.append(("Access-Control-Allow-Headers", ALLOWED_HEADERS))
                added.append(("Access-Control-Max-Age", MAX_AGE))
            return start_response(status, [*headers, *added], exc_info)

        return self._app(environ, start)

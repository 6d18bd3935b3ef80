"""Which other origins' scripts may call: https://fetch.spec.whatwg.org/#http-cors-protocol"""

from collections.abc import Collection, Iterable
from typing import Any

from .problems import App, Environ, Headers

# What a script may send and read besides the headers that are always allowed.
ALLOWED_HEADERS = "Authorization, Content-Type, X-Request-ID"
EXPOSED_HEADERS = "Location, Retry-After, X-Request-ID"
MAX_AGE = "7200"  # seconds: the most that Chromium keeps


class Cors:
    """WSGI middleware outside the error answers, so that a script may read those too.

    Credentials are bearer tokens, which a script sends itself: no cookie is allowed.
    """

    def __init__(self, app: App, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN", "")
        allowed = origin in self._origins
        wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "")

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            # The default, of the application's own origin, would stop the script.
            policy = "cross-origin" if allowed else "same-origin"
            own = [("Vary", "Origin"), ("Cross-Origin-Resource-Policy", policy)]
            if allowed:
                own.append(("Access-Control-Allow-Origin", origin))
                own.append(("Access-Control-Expose-Headers", EXPOSED_HEADERS))
            if allowed and wanted and environ["REQUEST_METHOD"] == "OPTIONS":
                own.append(("Access-Control-Allow-Methods", dict(headers).get("Allow", "")))
                own.append(("Access-Control-Allow-Headers", ALLOWED_HEADERS))
                own.append(("Access-Control-Max-Age", MAX_AGE))
            return start_response(status, [*headers, *own], exc_info)

        return self._app(environ, start)

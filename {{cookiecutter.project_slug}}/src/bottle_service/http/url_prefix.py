"""Serve under a part of the path of a host, such as `/app`."""

from collections.abc import Iterable
from typing import Any

from .problems import Environ, Headers, WSGIApp

__all__ = ["URL_PREFIX", "UrlPrefixMiddleware"]

# The pattern of a prefix: segments without characters that would have to be encoded.
URL_PREFIX = r"(/[A-Za-z0-9._~-]+)*"


class UrlPrefixMiddleware:
    """WSGI middleware that moves the prefix of a path to SCRIPT_NAME (PEP 3333).

    It also adds the prefix to each Location that is a path. Paths without the prefix are served,
    too, for health checks on the host.
    """

    def __init__(self, app: WSGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == self._prefix or path.startswith(f"{self._prefix}/"):
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + self._prefix
            environ["PATH_INFO"] = path[len(self._prefix) :] or "/"

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            return start_response(status, [*map(self._prefixed, headers)], exc_info)

        return self._app(environ, start)

    def _prefixed(self, header: tuple[str, str]) -> tuple[str, str]:
        name, value = header
        # `//host` names another host.
        is_path = value.startswith("/") and not value.startswith("//")
        return (name, self._prefix + value) if name == "Location" and is_path else header

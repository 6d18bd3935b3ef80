"""Set the client's address and scheme from the X-Forwarded-* headers of trusted proxies."""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from .problems import Environ, WSGIApp

__all__ = ["ProxyHeadersMiddleware"]

_PARTS = ("FOR", "PROTO", "HOST", "PORT", "PREFIX")
FORWARDED = (*(f"HTTP_X_FORWARDED_{part}" for part in _PARTS), "HTTP_X_REAL_IP", "HTTP_FORWARDED")

# 203.0.113.7:51234, [2001:db8::1]:51234 or [2001:db8::1]
_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")


class ProxyHeadersMiddleware:
    """WSGI middleware that trusts the last `trusted_count` proxies, and drops their headers.

    Each proxy appends the address of its own client to X-Forwarded-For, so the entry at
    `trusted_count` from the right was written by the outermost trusted proxy. The headers are
    dropped because Bottle would trust a client's own (`request.remote_addr`, `request.url`).
    """

    def __init__(self, app: WSGIApp, trusted_count: int) -> None:
        self._app = app
        self._trusted_count = trusted_count

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        # Servers set the scheme from a header that a client can send.
        environ["wsgi.url_scheme"] = "http"
        if self._trusted_count:
            addresses = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
            if len(addresses) >= self._trusted_count and (
                address := _parse_address(addresses[-self._trusted_count])
            ):
                environ["REMOTE_ADDR"] = address
            protocol = environ.get("HTTP_X_FORWARDED_PROTO", "")
            if protocol == "https" or protocol.rpartition(",")[2].strip() == "https":
                environ["wsgi.url_scheme"] = "https"
        for name in FORWARDED:
            if name in environ:
                del environ[name]
        return self._app(environ, start_response)


@lru_cache(maxsize=1024)
def _parse_address(text: str) -> str | None:
    """Return the address, without the port that some load balancers add, or None."""
    if match := _WITH_PORT.fullmatch(text.strip()):
        text = match[1] or match[2]
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return None

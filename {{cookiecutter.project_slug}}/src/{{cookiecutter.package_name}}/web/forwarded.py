"""Who the client is: its address, scheme and host, told by proxies that are ours."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from .problems import App, Environ

_PARTS = ("FOR", "PROTO", "HOST", "PORT", "PREFIX")
FORWARDED = (*(f"HTTP_X_FORWARDED_{part}" for part in _PARTS), "HTTP_X_REAL_IP", "HTTP_FORWARDED")


class Forwarded:
    """WSGI middleware that believes the last `hops` proxies and nobody before them.

    Each proxy appends the address it was called from to X-Forwarded-For, so the entry `hops`
    from the right was written by the outermost proxy of ours. Afterwards the headers are gone:
    Bottle would take the client's word for them (`request.remote_addr`, `request.url`).
    """

    def __init__(self, app: App, hops: int) -> None:
        self._app = app
        self._hops = hops

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        # Servers believe a header here, so the answer is ours alone.
        environ["wsgi.url_scheme"] = "http"
        if self._hops:
            addresses = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
            if len(addresses) >= self._hops and (address := _address(addresses[-self._hops])):
                environ["REMOTE_ADDR"] = address
            if environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip() == "https":
                environ["wsgi.url_scheme"] = "https"
        for name in FORWARDED:
            environ.pop(name, None)
        return self._app(environ, start_response)


@lru_cache(maxsize=1024)
def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return None

"""Proxy headers: client address and scheme come from trusted proxies only."""

from typing import Any

import pytest
from bottle import request

from .apps import client_for

SPOOFED = {
    "X-Forwarded-For": "6.6.6.6, 203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;host=evil.example",
}
TWO_SCHEMES = {"X-Forwarded-For": "nonsense", "X-Forwarded-Proto": "https, http"}


def echo() -> dict[str, Any]:
    environ = request.environ
    forwarded = [name for name in environ if "FORWARDED" in name or name == "HTTP_X_REAL_IP"]
    return {
        "address": environ["REMOTE_ADDR"],
        "scheme": environ["wsgi.url_scheme"],
        "forwarded": forwarded,
    }


@pytest.mark.parametrize(
    ("trusted_count", "headers", "address", "scheme"),
    [
        (0, SPOOFED, "127.0.0.1", "http"),
        (1, SPOOFED, "203.0.113.9", "https"),
        (2, SPOOFED, "6.6.6.6", "https"),
        (3, SPOOFED, "127.0.0.1", "https"),
        (1, TWO_SCHEMES, "127.0.0.1", "http"),
        (1, {"X-Forwarded-For": " 2001:db8::1 "}, "2001:db8::1", "http"),
        # Some load balancers add the port of the client.
        (1, {"X-Forwarded-For": "203.0.113.7:51234"}, "203.0.113.7", "http"),
        (1, {"X-Forwarded-For": "6.6.6.6, [2001:db8::1]:51234"}, "2001:db8::1", "http"),
        (1, {"X-Forwarded-For": "[2001:db8::1]"}, "2001:db8::1", "http"),
        (1, {"X-Forwarded-For": "203.0.113.7:"}, "127.0.0.1", "http"),
        (1, {"X-Forwarded-For": "203.0.113.7:x"}, "127.0.0.1", "http"),
        (1, {"X-Forwarded-For": "203.0.113.777:80"}, "127.0.0.1", "http"),
        (1, {"X-Forwarded-For": "host:80"}, "127.0.0.1", "http"),
        (1, {"X-Forwarded-For": "[203.0.113.7:80"}, "127.0.0.1", "http"),
        (1, {}, "127.0.0.1", "http"),
    ],
)
def test_client_is_the_one_that_trusted_proxies_name(
    trusted_count: int, headers: dict[str, str], address: str, scheme: str
) -> None:
    route = ("GET", "/", echo, {"raw": True})
    client = client_for(route, trusted_proxy_count=trusted_count)
    environ = {"REMOTE_ADDR": "127.0.0.1"}
    response = client.get("/", headers=headers, extra_environ=environ).json
    assert response == {"address": address, "scheme": scheme, "forwarded": []}


def test_scheme_of_the_server_is_not_trusted() -> None:
    """Gunicorn and uWSGI set it from a header that a client can send."""
    client = client_for(("GET", "/", echo, {"raw": True}))
    environ = {"REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "https"}
    assert client.get("/", extra_environ=environ).json["scheme"] == "http"

"""Who the client is: what proxies of ours say, and nobody else."""

from typing import Any

import pytest
from bottle import request

from .stack import client, public

SPOOFED = {
    "X-Forwarded-For": "6.6.6.6, 203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;host=evil.example",
}


@pytest.mark.parametrize(
    ("hops", "given", "address", "scheme"),
    [
        (0, SPOOFED, "127.0.0.1", "http"),
        (1, SPOOFED, "203.0.113.9", "https"),
        (2, SPOOFED, "6.6.6.6", "https"),
        (3, SPOOFED, "127.0.0.1", "https"),
        (1, {"X-Forwarded-For": "nonsense", "X-Forwarded-Proto": "https, http"}, "127.0.0.1", "http"),
        (1, {"X-Forwarded-For": " 2001:db8::1 "}, "2001:db8::1", "http"),
        (1, {}, "127.0.0.1", "http"),
    ],
)  # fmt: skip
def test_who_the_client_is(hops: int, given: dict[str, str], address: str, scheme: str) -> None:
    def handler() -> dict[str, Any]:
        environ = request.environ
        forwarded = [name for name in environ if "FORWARDED" in name or name == "HTTP_X_REAL_IP"]
        return {
            "address": environ["REMOTE_ADDR"],
            "scheme": environ["wsgi.url_scheme"],
            "left": forwarded,
        }

    app = client(lambda app: public(app, "/", handler, raw=True), trusted_proxies=hops)
    environ = {"REMOTE_ADDR": "127.0.0.1"}
    read = app.get("/", headers=given, extra_environ=environ).json
    assert read == {"address": address, "scheme": scheme, "left": []}

"""What clients send: read, put right or refused before it can do harm."""

import io
import json
from typing import Any

import pytest
from bottle import Bottle, request
from msgspec import Struct
from webtest import TestApp

from .stack import client, public, status_of


class Names(Struct):
    name: str
    count: int = 1


@pytest.fixture
def echo() -> TestApp:
    def handler() -> dict[str, Any]:
        cookies = {key: request.cookies[key] for key in request.cookies}
        headers = {key: request.headers[key] for key in request.headers}
        return {"cookies": cookies, "headers": headers, "length": request.content_length}

    def body(body: Names) -> Names:
        return body

    def form(form: Names) -> Names:
        return form

    def add_routes(app: Bottle) -> None:
        public(app, "/", handler, ["GET", "POST"], raw=True)
        public(app, "/names", body, "POST")
        public(app, "/form", form, "POST")
        public(app, "/raw", lambda: request.body.read(), "POST", raw=True)

    return client(add_routes)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("a=1", {"a": "1"}),
        ("b/c=2; a=1", {"a": "1"}),
        ("b@c=2", {}),
        ("a=1; $x=2", {"a": "1"}),
        ("a(b)=2;;; =; c", {}),
        ('a="q"; b="open', {"a": "q"}),
        ("a=caf\xe9; b=2", {"b": "2"}),
        ("a=\x01; b=2", {"b": "2"}),
    ],
)
def test_cookies(echo: TestApp, sent: str, read: dict[str, str]) -> None:
    cookies = echo.get("/", headers={"Cookie": sent}).json["cookies"]
    assert cookies == read


def test_headers_that_are_not_utf8(echo: TestApp) -> None:
    sent = {"X-A": "caf\xe9", "X-B": "caf\xc3\xa9", "Content-Type": "caf\xe9"}
    headers = echo.get("/", headers=sent).json["headers"]
    assert (headers["X-A"], headers["X-B"]) == ("caf\ufffd", "caf\xe9")
    assert headers["Content-Type"] == "caf\ufffd"


@pytest.mark.parametrize("path", ["/%ff", "/%00", "/a%0a", "/%c2%85", "/%ed%a0%80"])
def test_unclean_paths(echo: TestApp, path: str) -> None:
    assert echo.get(path, status=400).json["status"] == 400


@pytest.mark.parametrize("path", ["", "http://[", "*"])
def test_paths_that_are_none(echo: TestApp, path: str) -> None:
    assert status_of(echo, path) == 400


@pytest.mark.parametrize("length", ["abc", "-1", "+1", "1_0", "٣", "9" * 30, "1, 1"])
def test_lengths_that_are_none(echo: TestApp, length: str) -> None:
    assert status_of(echo, CONTENT_LENGTH=length) == 400


@pytest.mark.parametrize(
    ("terminated", "size", "status"), [(True, 10, 200), (True, 200_001, 413), (False, 10, 411)]
)
def test_chunked_bodies(echo: TestApp, terminated: bool, size: int, status: int) -> None:
    """As Gunicorn and Waitress hand them over: decoded, with the header still there."""
    body = json.dumps({"name": "x" * size}).encode()
    chunked = {
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": terminated,
    }
    assert status_of(echo, "/names", **chunked) == status


def test_a_json_body_may_be_as_large_as_the_limit(echo: TestApp) -> None:
    """Bottle's own limit for JSON is 100 KiB."""
    assert echo.post_json("/names", {"name": "x" * 150_000}).json["count"] == 1


def test_a_body_that_ends_early(echo: TestApp) -> None:
    short = {
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "100",
        "wsgi.input": io.BytesIO(b'{"name": "x"}'),
    }
    assert status_of(echo, "/names", **short) == 400


class Gone(io.BytesIO):
    """The body of a client that has reset its connection."""

    def read(self, size: int | None = -1) -> bytes:
        raise ConnectionResetError


@pytest.mark.parametrize("path", ["/names", "/form", "/raw"])
def test_a_body_that_is_broken_off(echo: TestApp, path: str) -> None:
    kind = "application/x-www-form-urlencoded" if path == "/form" else "application/json"
    sent = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": "100", "wsgi.input": Gone()}
    assert status_of(echo, path, **sent) == 400


class Malformed(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise ValueError("a chunk without a length")


def test_malformed_chunks(echo: TestApp) -> None:
    malformed = {
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": Malformed(),
        "wsgi.input_terminated": True,
    }
    assert status_of(echo, "/names", **malformed) == 400


def test_a_wrong_body_that_is_not_utf8(echo: TestApp) -> None:
    body = b'{"name": 3, "x": "\xff"}'
    echo.post("/names", body, content_type="application/json", status=400)

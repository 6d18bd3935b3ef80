"""Sanitizing: requests that Bottle would misread are rejected or repaired."""

import io
import json
from typing import Any

import pytest
from bottle import request
from msgspec import Struct
from webtest import TestApp

from .apps import client_for, raw_status, startup_errors


class Item(Struct):
    name: str
    count: int = 1


def echo() -> dict[str, Any]:
    cookies = {key: request.cookies[key] for key in request.cookies}
    headers = {key: request.headers[key] for key in request.headers}
    return {"cookies": cookies, "headers": headers, "length": request.content_length}


def read_json(body: Item) -> Item:
    return body


def read_form(form: Item) -> Item:
    return form


@pytest.fixture
def client() -> TestApp:
    return client_for(
        (["GET", "POST"], "/", echo, {"raw": True}),
        ("POST", "/json", read_json),
        ("POST", "/form", read_form),
        ("POST", "/raw", lambda: request.body.read(), {"raw": True}),
        ("GET", "/adm", lambda: "reached"),
    )


@pytest.mark.parametrize(
    ("sent", "cookies"),
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
def test_malformed_cookies_are_dropped(client: TestApp, sent: str, cookies: dict[str, str]) -> None:
    assert client.get("/", headers={"Cookie": sent}).json["cookies"] == cookies


def test_headers_that_are_not_utf8_are_repaired(client: TestApp) -> None:
    sent = {"X-A": "caf\xe9", "X-B": "caf\xc3\xa9", "Content-Type": "caf\xe9"}
    headers = client.get("/", headers=sent).json["headers"]
    assert (headers["X-A"], headers["X-B"]) == ("caf\ufffd", "caf\xe9")
    assert headers["Content-Type"] == "caf\ufffd"


@pytest.mark.parametrize("path", ["/%ff", "/adm%ff", "/%ed%a0%80"])
def test_path_that_is_not_utf8_is_400(client: TestApp, path: str) -> None:
    assert client.get(path, status=400).json["status"] == 400


@pytest.mark.parametrize("path", ["/%00", "/adm%0a", "/%c2%85"])
def test_control_character_in_the_path_is_400(client: TestApp, path: str) -> None:
    assert client.get(path, status=400).json["status"] == 400


@pytest.mark.parametrize("path", ["", "http://[", "*"])
def test_path_without_a_leading_slash_is_400(client: TestApp, path: str) -> None:
    assert raw_status(client, path) == 400


@pytest.mark.parametrize("length", ["abc", "-1", "+1", "1_0", "٣", "9" * 30, "1, 1"])
def test_invalid_content_length_is_400(client: TestApp, length: str) -> None:
    assert raw_status(client, CONTENT_LENGTH=length) == 400


@pytest.mark.parametrize("path", ["/json", "/form", "/raw"])
def test_body_above_the_limit_is_413(client: TestApp, path: str) -> None:
    response = client.post(path, b"x" * 200_001, status=413)
    assert response.content_type == "application/problem+json"


def test_json_body_may_be_as_large_as_the_limit(client: TestApp) -> None:
    """Bottle's own limit for JSON is 100 KiB."""
    assert client.post_json("/json", {"name": "x" * 150_000}).json["count"] == 1


@pytest.mark.parametrize("path", ["/small", "/large", "/default"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_route_has_its_own_limit(path: str, is_chunked: bool) -> None:
    def size(body: Item) -> int:
        return len(body.name)

    client = client_for(
        ("POST", "/small", size, {"max_body": 1_000}),
        ("POST", "/default", size),
        ("POST", "/large", size, {"max_body": 5_000_000}),
    )
    limit = {"/small": 1_000, "/default": 200_000, "/large": 5_000_000}[path]
    for length, status in ((limit, 200), (limit + 1, 413)):
        body = json.dumps({"name": "x"}).encode().ljust(length)
        environ: dict[str, Any] = {
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(length),
        }
        environ |= chunked(io.BytesIO(body)) if is_chunked else {"wsgi.input": io.BytesIO(body)}
        assert raw_status(client, path, **environ) == status


def test_token_is_checked_before_the_limit_of_the_route() -> None:
    client = client_for(("POST", "/", read_json, {"public": False, "max_body": 10}))
    client.post("/", b"x" * 11, status=401)


@pytest.mark.parametrize("size", [0, -1, True, "1m", 2.5, 2**30 + 1])
def test_invalid_limit_of_a_route_is_a_startup_error(size: object) -> None:
    assert f"POST /: max_body={size!r} is not" in startup_errors(
        ("POST", "/", read_json, {"max_body": size})
    )


def chunked(body: io.BytesIO, terminated: bool = True) -> dict[str, Any]:
    """Return a chunked body as Gunicorn and Waitress pass it: decoded, and with the header."""
    return {
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": body,
        "wsgi.input_terminated": terminated,
    }


@pytest.mark.parametrize(
    ("terminated", "size", "status"), [(True, 10, 200), (True, 200_001, 413), (False, 10, 411)]
)
def test_chunked_body_is_decoded_once_up_to_the_limit(
    client: TestApp, terminated: bool, size: int, status: int
) -> None:
    body = io.BytesIO(json.dumps({"name": "x" * size}).encode())
    assert raw_status(client, "/json", **chunked(body, terminated)) == status


class FailingBody(io.BytesIO):
    """A body whose stream raises an error of the server."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def read(self, size: int | None = -1) -> bytes:
        raise self._error

    def readline(self, size: int | None = -1) -> bytes:
        raise self._error


def test_malformed_chunks_are_400(client: TestApp) -> None:
    body = FailingBody(ValueError("a chunk without a length"))
    assert raw_status(client, "/json", **chunked(body)) == 400


@pytest.mark.parametrize("path", ["/json", "/form", "/raw"])
def test_interrupted_body_is_400(client: TestApp, path: str) -> None:
    environ = {
        "CONTENT_TYPE": f"application/{'x-www-form-urlencoded' if path == '/form' else 'json'}",
        "CONTENT_LENGTH": "100",
        "wsgi.input": FailingBody(ConnectionResetError()),
    }
    assert raw_status(client, path, **environ) == 400


def read_lines() -> dict[str, Any]:
    body = request.environ["wsgi.input"]
    lines = [body.readline(2), body.readline(), body.readlines(3), list(body)]
    return {"lines": str(lines)}


@pytest.mark.parametrize("chunks", [False, True])
def test_raw_handler_reads_lines_of_the_body(chunks: bool) -> None:
    client = client_for(("POST", "/", read_lines, {"raw": True}))
    headers = {"Transfer-Encoding": "chunked"} if chunks else {}
    environ = {"wsgi.input_terminated": True}
    body = b"abc\nde\nf\ng\n\nh"
    lines = client.post("/", body, headers=headers, extra_environ=environ).json
    expected = [b"ab", b"c\n", [b"de\n"], [b"f\n", b"g\n", b"\n", b"h"]]
    assert lines == {"lines": str(expected)}


def test_raw_handler_that_reads_lines_of_a_large_body_is_413() -> None:
    client = client_for(("POST", "/", read_lines, {"raw": True}))
    client.post("/", b"line\n" * 50_000, status=413)


def test_interrupted_line_is_400() -> None:
    client = client_for(("POST", "/", read_lines, {"raw": True}))
    environ: dict[str, Any] = {"CONTENT_LENGTH": "9"}
    environ["wsgi.input"] = FailingBody(ConnectionResetError())
    assert raw_status(client, **environ) == 400


def test_incomplete_body_is_400(client: TestApp) -> None:
    environ = {
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "100",
        "wsgi.input": io.BytesIO(b'{"name": "x"}'),
    }
    assert raw_status(client, "/json", **environ) == 400

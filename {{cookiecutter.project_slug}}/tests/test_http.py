"""What is true of every answer, whatever the resource."""

import re
from typing import Any

import pytest
from webtest import TestApp

from .service import GUARDED, guarded

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def check_problem(response: Any, status: int) -> None:
    assert response.status_int == status
    assert response.content_type == "application/problem+json"
    assert response.json["type"] == "about:blank"
    assert response.json["status"] == status
    assert response.json["title"]
    assert response.json["detail"]
    assert response.json["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_health(client: TestApp, path: str) -> None:
    assert client.get(path).json == {"status": "ok"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("HEAD", "/livez", 200),
        ("GET", "/nothing", 404),
        ("GET", "/static/nothing.css", 404),
        ("DELETE", "/livez", 405),
        pytest.param("POST", GUARDED, 401, marks=guarded),
    ],
)
def test_headers_stand_once_on_every_answer(
    client: TestApp, method: str, path: str, status: int
) -> None:
    response = client.request(path, method=method, status=status)
    assert {name: response.headers.getall(name) for name in HEADERS} == {
        name: [value] for name, value in HEADERS.items()
    }
    assert len(response.headers.getall("X-Request-ID")) == 1
    assert not re.search(r"\d", response.headers.get("Server", "")), "no version is told"


def test_head_is_get_without_the_body(client: TestApp) -> None:
    got, head = client.get("/livez"), client.head("/livez")
    assert head.body == b""
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


def test_request_id_is_kept_if_harmless(client: TestApp) -> None:
    response = client.get("/livez", headers={"X-Request-ID": "build-2026.11_22"})
    assert response.headers["X-Request-ID"] == "build-2026.11_22"


@pytest.mark.parametrize(
    "given", ["short", "x" * 65, "has space", 'quo"te-quote', "caf\xe9-caf\xe9"]
)
def test_request_id_is_replaced_if_not(client: TestApp, given: str) -> None:
    response = client.get("/livez", headers={"X-Request-ID": given})
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-ID"])


@pytest.mark.parametrize(
    "path", ["/nothing", "/livez/", "/api/v1/nothing", "/static/", "/static/x"]
)
def test_not_found(client: TestApp, path: str) -> None:
    check_problem(client.get(path, status=404), 404)


def test_method_not_allowed(client: TestApp) -> None:
    response = client.delete("/livez", status=405)
    check_problem(response, 405)
    assert "GET" in response.headers["Allow"]


def test_a_browser_gets_a_page(client: TestApp) -> None:
    response = client.get("/nothing", headers=BROWSER, status=404)
    assert "style-src 'self'" in response.headers["Content-Security-Policy"]
    assert response.content_type == "text/html"
    assert response.headers["X-Request-ID"] in response.text


def test_a_browser_gets_problems_from_the_api(client: TestApp) -> None:
    check_problem(client.get("/api/v1/nothing", headers=BROWSER, status=404), 404)


@guarded
@pytest.mark.parametrize(
    "credentials", [None, "Bearer", "Bearer wrong", "Basic dGVzdGVyOng=", "Bearer a b", "bearer  "]
)
def test_a_token_is_asked_for(client: TestApp, credentials: str | None) -> None:
    headers = {"Authorization": credentials} if credentials else {}
    response = client.post(GUARDED, headers=headers, status=401)
    check_problem(response, 401)
    assert response.headers["WWW-Authenticate"] == "Bearer"


@guarded
def test_not_found_comes_before_the_token(client: TestApp) -> None:
    client.get(f"{GUARDED}/1/none", status=404)
    client.request(GUARDED, method="PATCH", status=405)


def test_a_path_that_is_not_utf8(client: TestApp) -> None:
    # Bottle would drop the byte and answer as for /livez.
    check_problem(client.get("/livez%ff", status=400), 400)


def test_a_control_character_in_the_path(client: TestApp) -> None:
    check_problem(client.get("/livez%0a", status=400), 400)


@guarded
def test_a_body_of_another_type(caller: TestApp) -> None:
    response = caller.post(GUARDED, "x=1", content_type="text/plain", status=415)
    check_problem(response, 415)


@guarded
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 50_000, b'"\\ud800"'])
def test_a_body_that_is_not_json(caller: TestApp, body: bytes) -> None:
    response = caller.post(GUARDED, body, content_type="application/json", status=400)
    check_problem(response, 400)


@guarded
@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1"])
def test_a_body_that_is_no_object(caller: TestApp, body: bytes) -> None:
    response = caller.post(GUARDED, body, content_type="application/json", status=422)
    check_problem(response, 422)


@guarded
def test_a_body_that_is_too_large(caller: TestApp) -> None:
    body = b'{"title": "' + b"x" * 2**20 + b'"}'
    response = caller.post(GUARDED, body, content_type="application/json", status=413)
    check_problem(response, 413)


def test_a_name_that_no_file_can_have(client: TestApp) -> None:
    check_problem(client.get(f"/static/{'a' * 300}", status=404), 404)


def test_a_part_of_another_version_is_not_continued(client: TestApp) -> None:
    whole = client.get("/static/app.css")
    part = {"Range": "bytes=5-"}
    same = client.get("/static/app.css", headers={**part, "If-Range": whole.headers["ETag"]})
    assert (same.status_int, same.body) == (206, whole.body[5:])
    other = client.get("/static/app.css", headers={**part, "If-Range": '"other"'})
    assert (other.status_int, other.body) == (200, whole.body)


def test_static_file_is_not_sent_twice(client: TestApp) -> None:
    first = client.get("/static/app.css")
    tag = first.headers["ETag"]
    assert re.fullmatch(r'"[^"]+"', tag)
    assert client.get("/static/app.css", headers={"If-None-Match": tag}, status=304).body == b""


@pytest.mark.parametrize(
    "path",
    [
        "/static/../settings.py",
        "/static/%2e%2e/settings.py",
        "/static//etc/passwd",
        "/static/.hidden",
        "/static/%00",
    ],
)
def test_static_files_stay_in_their_directory(client: TestApp, path: str) -> None:
    assert client.get(path, expect_errors=True).status_int in (400, 404)

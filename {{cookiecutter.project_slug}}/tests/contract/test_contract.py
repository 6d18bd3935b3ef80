"""The contract of the service with its clients, whatever its routes are.

These cases run in one process, over TCP, over a unix socket and through Nginx: see ../conftest.py.
"""

import re

import pytest
from webtest import TestApp, TestResponse

from bottle_service.http.security_headers import DEFAULT_HEADERS

from {{ cookiecutter.package_name }}.settings import Settings

from .service import FAILURE

# As a browser sends it.
ACCEPT_HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def assert_problem(response: TestResponse, status: int) -> None:
    """Assert that the body is problem details: https://www.rfc-editor.org/rfc/rfc9457"""
    assert response.status_int == status
    assert response.content_type == "application/problem+json"
    problem = response.json
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["X-Request-ID"]


# Health and metrics


def test_liveness_is_200(client: TestApp) -> None:
    assert client.get("/livez").json == {"status": "ok"}


@pytest.mark.parametrize("path", ["/readyz", "/health"])
def test_readiness_is_200(client: TestApp, path: str) -> None:
    assert client.get(path).json == {"status": "ok"}


def test_metrics_with_admin_token_are_prometheus_text(metrics_client: TestApp) -> None:
    metrics_client.get("/livez")
    response = metrics_client.get("/metrics")
    assert response.content_type == "text/plain"
    assert "http_server_request_duration_seconds_count" in response.text
    assert 'http_route="/livez"' in response.text


@pytest.mark.usefixtures("metrics_client")
def test_metrics_without_admin_token_are_401(client: TestApp) -> None:
    assert_problem(client.get("/metrics", status=401), 401)


@pytest.mark.usefixtures("metrics_client")
def test_metrics_with_api_token_are_401(authenticated_client: TestApp) -> None:
    assert_problem(authenticated_client.get("/metrics", status=401), 401)


# Headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("HEAD", "/livez", 200),
        ("OPTIONS", "/livez", 204),
        ("GET", "/nothing", 404),
        ("DELETE", "/livez", 405),
    ],
)
def test_default_headers_are_sent_once(
    client: TestApp, method: str, path: str, status: int
) -> None:
    headers = client.request(path, method=method, status=status).headers
    for name in ("X-Request-ID", *dict(DEFAULT_HEADERS)):
        assert len(headers.getall(name)) == 1, name


def test_server_header_has_no_version(client: TestApp) -> None:
    assert not re.search(r"\d", client.get("/livez").headers.get("Server", ""))


def test_head_is_get_without_body(client: TestApp) -> None:
    got, head = client.get("/livez"), client.head("/livez")
    assert head.body == b""
    for name in ("Content-Length", "Content-Type"):
        assert head.headers[name] == got.headers[name]


def test_valid_request_id_is_kept(client: TestApp) -> None:
    response = client.get("/livez", headers={"X-Request-ID": "build-2026.11_22"})
    assert response.headers["X-Request-ID"] == "build-2026.11_22"


@pytest.mark.parametrize(
    "invalid", ["short", "x" * 65, "has space", 'quo"te-quote', "caf\xe9-caf\xe9"]
)
def test_invalid_request_id_is_replaced(client: TestApp, invalid: str) -> None:
    response = client.get("/livez", headers={"X-Request-ID": invalid})
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-ID"])


# Paths and methods


@pytest.mark.parametrize("path", ["/nothing", "/livez/", "/api/v1/nothing"])
def test_unknown_path_is_404(client: TestApp, path: str) -> None:
    assert_problem(client.get(path, status=404), 404)


def test_unknown_method_is_405_with_allowed_methods(client: TestApp) -> None:
    response = client.delete("/livez", status=405)
    assert_problem(response, 405)
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_browser_gets_error_page(client: TestApp) -> None:
    response = client.get("/nothing", headers=ACCEPT_HTML, status=404)
    assert response.content_type == "text/html"


def test_browser_gets_problem_from_api(client: TestApp) -> None:
    assert_problem(client.get("/api/v1/nothing", headers=ACCEPT_HTML, status=404), 404)


@pytest.mark.parametrize("path", ["/livez%ff", "/livez%0a"], ids=["not-utf8", "control-character"])
def test_misleading_path_is_400(client: TestApp, path: str) -> None:
    """Bottle would drop the byte and call the handler of /livez."""
    assert_problem(client.get(path, status=400), 400)


# Access


def test_valid_token_is_accepted(authenticated_client: TestApp, echo_path: str) -> None:
    authenticated_client.post_json(echo_path, {"text": "Hello"}, status=201)


@pytest.mark.parametrize(
    "credentials", ["", "Bearer", "Bearer wrong", "Basic dGVzdGVyOng=", "Bearer a b"]
)
def test_invalid_token_is_401(client: TestApp, echo_path: str, credentials: str) -> None:
    headers = {"Authorization": credentials} if credentials else {}
    response = client.post_json(echo_path, {"text": "Hello"}, headers=headers, status=401)
    assert_problem(response, 401)
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_unknown_method_is_405_without_token(client: TestApp, echo_path: str) -> None:
    client.patch(echo_path, status=405)


# Bodies


def test_json_body_reaches_handler(authenticated_client: TestApp, echo_path: str) -> None:
    response = authenticated_client.post_json(echo_path, {"text": "Zoë 🙂"}, status=201)
    assert response.content_type == "application/json"
    assert response.json == {"text": "Zoë 🙂", "copies": 1}


def test_body_of_another_type_is_415(authenticated_client: TestApp, echo_path: str) -> None:
    response = authenticated_client.post(echo_path, "text=x", content_type="text/plain", status=415)
    assert_problem(response, 415)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"text": NaN}', b"[" * 50_000])
def test_malformed_json_is_400(authenticated_client: TestApp, echo_path: str, body: bytes) -> None:
    response = authenticated_client.post(
        echo_path, body, content_type="application/json", status=400
    )
    assert_problem(response, 400)


def test_invalid_json_is_422_and_names_every_field(
    authenticated_client: TestApp, echo_path: str
) -> None:
    body = {"copies": "two", "colour/~": "red"}
    response = authenticated_client.post_json(echo_path, body, status=422)
    assert_problem(response, 422)
    assert response.json["errors"] == [
        {"pointer": "/text", "message": "is required"},
        {"pointer": "/copies", "message": "Expected int, got str"},
        {"pointer": "/colour~1~0", "message": "is unknown"},
    ]


def test_body_that_is_not_an_object_is_422(authenticated_client: TestApp, echo_path: str) -> None:
    assert_problem(authenticated_client.post_json(echo_path, ["Hello"], status=422), 422)


def test_body_over_the_limit_is_413(authenticated_client: TestApp, echo_path: str) -> None:
    body = {"text": "x" * Settings.read({})[0].max_body_bytes}
    assert_problem(authenticated_client.post_json(echo_path, body, status=413), 413)


# Failures


@pytest.mark.usefixtures("echo_path")
def test_exception_of_handler_is_500_without_its_reason(client: TestApp) -> None:
    response = client.get(FAILURE, status=500)
    assert_problem(response, 500)
    assert "must not read" not in response.text

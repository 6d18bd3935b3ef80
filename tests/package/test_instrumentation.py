"""Instrumentation: request IDs, default headers, and one record of each exchange."""

import json
import re
from typing import Any, NoReturn

import pytest
from webtest import TestApp

from bottle_service.assets import Assets
from bottle_service.http.security_headers import DEFAULT_HEADERS
from bottle_service.telemetry.access_log import AccessLog
from bottle_service.telemetry.exchange import Exchange
from bottle_service.telemetry.metrics import Metrics

from .apps import STATIC, Exchanges, build_app, client_for

ORIGIN = "https://app.example.com"
FILES = Assets(STATIC, fingerprints=False)
ROUTES: list[Any] = [
    (["GET", "POST"], "/json", lambda: [1]),
    ("GET", "/stream", lambda: iter([b"a", b"b"]), {"raw": True}),
    ("GET", "/static/<path:path>", lambda path: FILES.serve(path)),
    ("GET", "/fails", lambda: 1 / 0),
    ("GET", "/private", lambda: 1, {"public": False}),
]


def access_log(log_level: str = "INFO", log_format: str = "json") -> AccessLog:
    return AccessLog("tested", "", log_format, log_level)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/json", 200),
        ("HEAD", "/json", 200),
        ("OPTIONS", "/json", 204),
        ("DELETE", "/json", 405),
        ("POST", "/json", 413),
        ("GET", "/stream", 200),
        ("HEAD", "/stream", 200),
        ("GET", "/static/app.css", 304),
        ("GET", "/static/nothing", 404),
        ("GET", "/nothing", 404),
        ("GET", "/%ff", 400),
        ("GET", "/private", 401),
        ("GET", "/fails", 500),
    ],
)
def test_log_and_metrics_match_the_response(
    capfd: pytest.CaptureFixture[str], method: str, path: str, status: int
) -> None:
    metrics = Metrics()
    client = client_for(
        *ROUTES, recorders=[access_log(), metrics], max_body_bytes=9, cors_origins=[ORIGIN]
    )
    headers = {"X-Request-ID": "the-request", "Origin": ORIGIN}
    if status == 304:
        headers["If-None-Match"] = client.get(path).headers["ETag"]
        capfd.readouterr()
    body = b"0123456789" if status == 413 else b""
    response = client.request(path, method=method, headers=headers, body=body, status=status)
    assert response.headers.getall("X-Request-ID") == ["the-request"]
    assert response.headers.getall("Access-Control-Allow-Origin") == [ORIGIN]
    for name, _ in DEFAULT_HEADERS:
        assert len(response.headers.getall(name)) == 1, name
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert line["http.request.id"] == "the-request"
    assert line["http.request.method"] == method
    assert line["http.response.status_code"] == status
    assert line["http.response.body.bytes"] == len(response.body)
    exposition = metrics.exposition().decode()
    assert f'method="{method}"' in exposition
    assert f'status_code="{status}"' in exposition


@pytest.mark.parametrize("path", ["/json", "/nothing", "/private", "/fails", "/static/app.css"])
def test_default_headers_are_set_once(path: str) -> None:
    response = client_for(*ROUTES).get(path, status="*")
    for name, value in DEFAULT_HEADERS:
        own = "no-cache" if (name, path) == ("Cache-Control", "/static/app.css") else value
        assert response.headers.getall(name) == [own]


def test_harmless_request_id_is_kept() -> None:
    response = client_for(*ROUTES).get("/json", headers={"X-Request-ID": "build-2026.11_22"})
    assert response.headers["X-Request-ID"] == "build-2026.11_22"


@pytest.mark.parametrize(
    "sent", ["short", "x" * 65, "has space", 'quo"te-quote', "caf\xe9-caf\xe9", "line\nfeed"]
)
def test_unsafe_request_id_is_replaced(sent: str) -> None:
    response = client_for(*ROUTES).get("/json", extra_environ={"HTTP_X_REQUEST_ID": sent})
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-ID"])


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("sent", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-a-later-version", TRACE),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        ("nonsense", None),
    ],
)
def test_trace_id_of_the_client_is_logged(
    capfd: pytest.CaptureFixture[str], sent: str, trace_id: str | None
) -> None:
    client_for(*ROUTES, recorders=[access_log()]).get("/json", headers={"traceparent": sent})
    assert json.loads(capfd.readouterr().err).get("trace.id") == trace_id


def test_client_name_is_logged_and_the_query_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    client = client_for(*ROUTES, recorders=[access_log()])
    client.get("/private?token=secret", headers={"Authorization": "Bearer good"})
    written = capfd.readouterr().err
    assert json.loads(written)["user.name"] == "tester"
    assert "secret" not in written


@pytest.mark.parametrize(
    ("level", "paths"),
    [("INFO", ["/json", "/fails"]), ("WARNING", ["/fails"]), ("ERROR", ["/fails"])],
)
def test_access_log_has_failures_only_from_level_warning(
    capfd: pytest.CaptureFixture[str], level: str, paths: list[str]
) -> None:
    client = client_for(*ROUTES, recorders=[access_log(level)])
    client.get("/json")
    client.get("/fails", status=500)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["url.path"] for line in lines] == paths


def test_text_of_the_access_log_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    client_for(*ROUTES, recorders=[access_log(log_format="text")]).get("/a%0ab", status=400)
    (line,) = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d ACCESS  GET /a\\nb 400 \d+\.\d ms", line)


def test_abandoned_download_is_recorded_once() -> None:
    exchanges = Exchanges()
    route = ("GET", "/", lambda: iter([b"a", b"b"]), {"raw": True})
    app = build_app(route, recorders=[exchanges])
    body: Any = app(TestApp(app).RequestClass.blank("/").environ, lambda *_: None)
    assert next(iter(body)) == b"a"
    assert exchanges == []
    body.close()
    body.close()
    assert [(exchange.status, exchange.bytes_sent) for exchange in exchanges] == [(200, 1)]


def test_failure_of_the_server_is_recorded() -> None:
    exchanges = Exchanges()
    app = build_app(("GET", "/", lambda: 1), recorders=[exchanges])

    def start_response(*_: Any) -> None:
        raise OSError("the server's own failure")

    with pytest.raises(OSError, match="own failure"):
        app(TestApp(app).RequestClass.blank("/").environ, start_response)
    assert [type(exchange.error) for exchange in exchanges] == [OSError]


def test_exchange_without_a_response_is_recorded_as_500() -> None:
    def interrupted() -> NoReturn:
        raise KeyboardInterrupt

    exchanges = Exchanges()
    client = client_for(("GET", "/", interrupted), recorders=[exchanges])
    with pytest.raises(KeyboardInterrupt):
        client.get("/")
    assert [exchange.status for exchange in exchanges] == [500]


class FailingRecorder(Exchanges):
    def request_finished(self, exchange: Exchange) -> None:
        raise OSError("no space left")


@pytest.mark.parametrize("path", ["/json", "/stream"])
def test_failing_recorder_changes_no_response(caplog: pytest.LogCaptureFixture, path: str) -> None:
    exchanges = Exchanges()
    response = client_for(*ROUTES, recorders=[FailingRecorder(), exchanges]).get(path)
    assert [exchange.bytes_sent for exchange in exchanges] == [len(response.body)]
    assert "no space left" in caplog.text


def test_duration_ignores_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    exchanges = Exchanges()
    client = client_for(*ROUTES, recorders=[exchanges])
    times = iter(range(10_000, 0, -1))
    monkeypatch.setattr("time.time", lambda: next(times))
    client.get("/json")
    assert 0 <= exchanges[0].seconds < 5

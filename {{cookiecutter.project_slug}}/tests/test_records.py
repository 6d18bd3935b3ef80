"""What is recorded of an exchange, and told to other origins, is what the client was answered."""

import json
from typing import Any

import pytest
from bottle import Bottle
from webtest import TestApp

from {{ cookiecutter.package_name }}.settings import VIEWS_DIRECTORY, Settings
from {{ cookiecutter.package_name }}.telemetry.access import AccessLog
from {{ cookiecutter.package_name }}.telemetry.metrics import Metrics
from {{ cookiecutter.package_name }}.web.observe import DEFAULT_HEADERS, Exchange
from {{ cookiecutter.package_name }}.web.static import StaticFiles

from .stack import Recorder, build, client, public

ORIGIN = "https://app.example.com"


def one_truth_routes(app: Bottle) -> None:
    files = StaticFiles(VIEWS_DIRECTORY.with_name("static"))
    public(app, "/json", lambda: [1], ["GET", "POST"])
    public(app, "/stream", lambda: iter([b"a", b"b"]), raw=True)
    public(app, "/static/<path:path>", lambda path: files.serve(path))
    public(app, "/fails", lambda: 1 / 0)
    app.route("/private", "GET", lambda: 1)


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
def test_one_truth_for_every_answer(
    capfd: pytest.CaptureFixture[str], method: str, path: str, status: int
) -> None:
    metrics = Metrics()
    recorders = [AccessLog(Settings(), "one-truth"), metrics]
    app = client(one_truth_routes, recorders=recorders, max_body_bytes=9, cors_origins=[ORIGIN])
    headers = {"X-Request-ID": "one-truth", "Origin": ORIGIN}
    if status == 304:
        headers["If-None-Match"] = app.get(path).headers["ETag"]
        capfd.readouterr()
    body = b"0123456789" if status == 413 else b""
    answer = app.request(path, method=method, headers=headers, body=body, status=status)
    assert answer.headers.getall("X-Request-ID") == ["one-truth"]
    assert answer.headers.getall("Access-Control-Allow-Origin") == [ORIGIN]
    for name, _ in DEFAULT_HEADERS:
        assert len(answer.headers.getall(name)) == 1, name
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert line["http.request.id"] == "one-truth"
    assert line["http.request.method"] == method
    assert line["http.response.status_code"] == status
    assert line["http.response.body.bytes"] == len(answer.body)
    assert f'method="{method}"' in metrics.exposition().decode()
    assert f'status_code="{status}"' in metrics.exposition().decode()


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("sent", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-what-comes-later", TRACE),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        ("nonsense", None),
    ],
)
def test_the_trace_of_a_caller_is_named(
    capfd: pytest.CaptureFixture[str], sent: str, trace_id: str | None
) -> None:
    app = client(one_truth_routes, recorders=[AccessLog(Settings(), "traced")])
    app.get("/json", headers={"traceparent": sent})
    assert json.loads(capfd.readouterr().err).get("trace.id") == trace_id


def test_a_download_that_is_abandoned_is_recorded() -> None:
    seen: list[Exchange] = []
    app = build(lambda app: public(app, "/", lambda: iter([b"a", b"b"]), raw=True), seen)
    body = app(TestApp(app).RequestClass.blank("/").environ, lambda *_: None)
    assert next(iter(body)) == b"a"
    assert seen == []
    body.close()
    body.close()
    assert [(exchange.status, exchange.sent) for exchange in seen] == [(200, 1)]


def test_an_exchange_ends_whatever_happens() -> None:
    seen: list[Exchange] = []
    app = build(lambda app: public(app, "/", lambda: 1), seen)

    def broken(*_: Any) -> None:
        raise OSError("the server's own failure")

    with pytest.raises(OSError, match="own failure"):
        app(TestApp(app).RequestClass.blank("/").environ, broken)
    assert [type(exchange.error) for exchange in seen] == [OSError]


def test_an_exchange_without_an_answer_is_recorded_as_a_failure() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    seen: list[Exchange] = []
    app = client(lambda app: public(app, "/", interrupted), seen=seen)
    with pytest.raises(KeyboardInterrupt):
        app.get("/")
    assert [exchange.status for exchange in seen] == [500]


@pytest.mark.parametrize("path", ["/json", "/stream"])
def test_a_record_that_fails_costs_no_answer(caplog: pytest.LogCaptureFixture, path: str) -> None:
    def fail(exchange: Exchange) -> None:
        raise OSError("no space left")

    seen: list[Exchange] = []
    failing, working = Recorder([]), Recorder(seen)
    failing.end = fail
    answer = client(one_truth_routes, recorders=[failing, working]).get(path)
    assert [exchange.sent for exchange in seen] == [len(answer.body)]
    assert "no space left" in caplog.text


def test_durations_are_not_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Exchange] = []
    app = client(lambda app: public(app, "/", lambda: 1), seen=seen)
    times = iter(range(10_000, 0, -1))
    monkeypatch.setattr("time.time", lambda: next(times))
    app.get("/")
    assert 0 <= seen[0].seconds < 5


def test_cors() -> None:
    app = client(lambda app: public(app, "/", lambda: 1, "PUT"), cors_origins=[ORIGIN])
    for response in (
        app.put("/", headers={"Origin": ORIGIN}),
        app.get("/nothing", headers={"Origin": ORIGIN}, status=404),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert response.headers["Vary"] == "Origin"
        assert response.headers.getall("Cross-Origin-Resource-Policy") == ["cross-origin"]
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    preflight = app.options("/", headers=asked, status=204)
    assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize("origin", ["", "null", "https://evil.example", f"{ORIGIN}.evil.example"])
def test_other_origins_are_told_nothing(origin: str) -> None:
    app = client(lambda app: public(app, "/", lambda: 1), cors_origins=[ORIGIN])
    response = app.get("/", headers={"Origin": origin} if origin else {})
    assert not [name for name in response.headers if name.startswith("Access-Control-")]
    assert response.headers["Vary"] == "Origin"

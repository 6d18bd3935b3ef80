"""Error responses: every failure of a handler is a problem for the client and a log entry."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any, NoReturn

import bottle
import pytest
from bottle import HTTPResponse

from bottle_service.http import FieldError, Problem, RequestScoped
from bottle_service.http.problems import ProblemRenderer
from bottle_service.http.security_headers import DEFAULT_HEADERS
from bottle_service.views import Views

from .apps import VIEWS, Exchanges, client_for

BROWSER = {"Accept": "text/html"}


def raises(error: type[BaseException] = ZeroDivisionError) -> str:
    raise error("the secret inside")


def stream() -> Iterator[bytes]:
    yield b"first"
    raise ZeroDivisionError("the secret inside")


@pytest.mark.parametrize(
    ("handler", "raw"),
    [
        (lambda: raises(), False),
        (lambda: sys.exit(3), False),
        (lambda: None, False),
        (lambda: object(), False),
        (lambda: {1, object()}, False),
        (lambda: {"x": float}, True),
        (lambda: 5, True),
        (lambda: [5], True),
        (lambda: HTTPResponse("x", headers={"X": "a\r\nb"}), True),
        (lambda: (_ for _ in [1 / 0]), True),
    ],
)
def test_failure_is_a_logged_problem(
    caplog: pytest.LogCaptureFixture, handler: Any, raw: bool
) -> None:
    exchanges = Exchanges()
    client = client_for(("GET", "/", handler, {"raw": raw}), recorders=[exchanges])
    response = client.get("/", status=500)
    assert response.content_type == "application/problem+json"
    assert response.json["request_id"] == response.headers["X-Request-ID"]
    assert "secret" not in response.text
    for name, value in DEFAULT_HEADERS:
        assert response.headers.getall(name) == [value]
    assert [exchange.status for exchange in exchanges] == [500]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_bottle_abort_is_a_logged_problem(caplog: pytest.LogCaptureFixture) -> None:
    handler = lambda: bottle.abort(500, "for the log")  # noqa: E731
    response = client_for(("GET", "/", handler, {"raw": True})).get("/", status=500)
    assert response.content_type == "application/problem+json"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "for the log" in caplog.text


def test_stream_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    client = client_for(("GET", "/", stream, {"raw": True}))
    with pytest.raises(ZeroDivisionError):
        client.get("/")
    assert [record.message for record in caplog.records] == ["response failed half-way"]


def test_problem_headers_replace_defaults() -> None:
    def busy() -> str:
        raise Problem(503, "Busy.", headers={"Retry-After": "7", "Cache-Control": "max-age=1"})

    response = client_for(("GET", "/", busy)).get("/", status=503)
    assert response.headers["Retry-After"] == "7"
    assert response.headers.getall("Cache-Control") == ["max-age=1"]


@pytest.mark.parametrize(
    ("status", "logged"),
    [(409, []), (503, [("WARNING", "request failed: The store is busy.", TimeoutError)])],
)
def test_problem_from_500_is_logged_with_its_cause(
    caplog: pytest.LogCaptureFixture, status: int, logged: list[Any]
) -> None:
    def busy() -> NoReturn:
        try:
            raise TimeoutError
        except TimeoutError as error:
            raise Problem(status, "The store is busy.") from error

    client_for(("GET", "/", busy)).get("/", status=status)
    assert logged == [
        (record.levelname, record.getMessage(), record.exc_info and record.exc_info[0])
        for record in caplog.records
    ]


def test_problem_that_a_problem_caused_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """As a readiness check of a database that is away: no traceback every few seconds."""

    def check() -> NoReturn:
        try:
            raise Problem(503, "The database is away.")
        except Problem as error:
            raise Problem(503, "The check fails.") from error

    client_for(("GET", "/", check)).get("/", status=503)
    (record,) = caplog.records
    assert record.getMessage() == "request failed: The check fails. The database is away."
    assert record.exc_info is None


def test_constant_problem_keeps_nothing_of_a_request() -> None:
    constant = Problem(503, "Busy.", headers={"Retry-After": "1"})

    def busy() -> NoReturn:
        raise constant

    client = client_for(("GET", "/", busy))
    for accept in ("text/html", "application/json", "text/html", "application/json"):
        response = client.get("/", headers={"Accept": accept}, status=503)
        assert response.content_length == len(response.body)
        assert len(response.headers.getall("Content-Security-Policy")) == 1
        assert response.headers["Retry-After"] == "1"
    assert constant.__traceback__ is None
    assert set(constant.headers) == {"Retry-After"}


def test_constant_response_keeps_nothing_of_a_request() -> None:
    constant = HTTPResponse("x", headers={"Content-Type": "text/plain"})
    client = client_for(("GET", "/", lambda: constant, {"raw": True}))
    for _ in range(3):
        assert len(client.get("/").headers.getall("X-Request-ID")) == 1


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("raised", [False, True])
def test_response_of_a_dict_is_json(raw: bool, raised: bool) -> None:
    def handler() -> HTTPResponse:
        response = HTTPResponse({"a": 1, "b": 2}, 202)
        if raised:
            raise response
        return response

    response = client_for(("GET", "/", handler, {"raw": raw})).get("/", status=202)
    assert (response.content_type, response.json) == ("application/json", {"a": 1, "b": 2})


@pytest.mark.parametrize("raised", [False, True])
@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (HTTPResponse(status=303, headers={"Location": "/"}), "committed"),
        (HTTPResponse({"a": 1}, 202), "committed"),
        (HTTPResponse("x", 409), "rolled back"),
        (Problem(409, "It has changed."), "rolled back"),
        (bottle.HTTPError(404, "x"), "rolled back"),
    ],
)
def test_raised_and_returned_responses_end_the_transaction_alike(
    response: HTTPResponse, outcome: str, raised: bool
) -> None:
    outcomes, depths = [], set()

    @contextmanager
    def transaction(_method: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            outcomes.append("rolled back")
            raise
        outcomes.append("committed")

    def handler(session: None) -> HTTPResponse:
        if raised:
            raise response
        return response

    dependencies = {"session": RequestScoped(transaction, lambda: None)}
    client = client_for(("GET", "/", handler), dependencies=dependencies)
    for _ in range(2):
        assert client.get("/", status="*").status_int == response.status_code
        depths.add(len(list(walk_tb(response.__traceback__))))
    assert outcomes == [outcome, outcome]
    assert len(depths) == 1, "the traceback of a constant grows with each raise"


def test_json_encoder_is_not_another_installed_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bottle, "json_dumps", lambda _: "another library's")
    client = client_for(("GET", "/", lambda: {"a": "/"}, {"raw": True}))
    assert client.get("/").body == b'{"a":"/"}'


# Error pages


def test_error_quotes_neither_path_nor_exception_in_debug_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bottle, "DEBUG", True)
    client = client_for(("GET", "/fails", lambda: raises()))
    for path, status in (("/<script>", 404), ("/fails", 500)):
        for accept in ("text/html", "application/json"):
            text = client.get(path, headers={"Accept": accept}, status=status).text
            assert "script>" not in text
            assert "ZeroDivisionError" not in text


def test_failing_error_page_becomes_json(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    views = Path(shutil.copytree(VIEWS, tmp_path / "views"))
    (views / "error.tpl").write_text("{{nothing_of_this_name}}")
    client = client_for(problem_renderer=ProblemRenderer(Views(views)))
    response = client.get("/", headers=BROWSER, status=404)
    assert response.content_type == "application/problem+json"
    assert "the error page failed" in caplog.text


def test_error_page_lists_field_errors_escaped() -> None:
    errors = [FieldError("/name", "is <required>"), FieldError("/<b>/0", "is unknown")]
    errors.append(FieldError("", "is odd"))

    def refuse() -> NoReturn:
        raise Problem(422, "The form is invalid.", errors=errors)

    client = client_for(("GET", "/", refuse))
    page = client.get("/", headers=BROWSER, status=422).text
    assert "<li>name: is &lt;required&gt;</li>" in page
    assert "<li>&lt;b&gt;/0: is unknown</li>" in page
    assert "<li>is odd</li>" in page
    assert "<ul>" not in client.get("/none", headers=BROWSER, status=404).text


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("text/html", True),
        ("text/html,*/*;q=0.8", True),
        ("application/json, text/html;q=0", False),
        ("text/html; q=0.0, */*", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_page_is_for_clients_that_accept_html_outside_the_api(accept: str, page: bool) -> None:
    client = client_for()
    response = client.get("/", headers={"Accept": accept}, status=404)
    assert (response.content_type == "text/html") == page
    assert client.get("/api", headers={"Accept": accept}, status=404).content_type != "text/html"

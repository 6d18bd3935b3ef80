"""Whatever a handler does, the client gets an orderly answer and the log the reason."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

import bottle
import pytest
from bottle import HTTPResponse

from {{ cookiecutter.package_name }}.assets import Assets
from {{ cookiecutter.package_name }}.settings import STATIC_DIRECTORY, VIEWS_DIRECTORY
from {{ cookiecutter.package_name }}.web.handlers import PerRequest
from {{ cookiecutter.package_name }}.web.observe import DEFAULT_HEADERS, Exchange
from {{ cookiecutter.package_name }}.web.problems import FieldError, Problem, ProblemPages
from {{ cookiecutter.package_name }}.web.views import Views

from .stack import client, public


def raises(_error: type[BaseException] = ZeroDivisionError) -> str:
    raise _error("the secret inside")


def stream() -> Iterator[bytes]:
    yield b"first"
    raise ZeroDivisionError("the secret inside")


WRONG: list[tuple[Any, dict[str, Any]]] = [
    (lambda: 1 / 0, {}),
    (lambda: sys.exit(3), {}),
    (lambda: None, {}),
    (lambda: object(), {}),
    (lambda: {1, object()}, {}),
    (lambda: {"x": float}, {"raw": True}),
    (lambda: 5, {"raw": True}),
    (lambda: [5], {"raw": True}),
    (lambda: HTTPResponse("x", headers={"X": "a\r\nb"}), {"raw": True}),
    (lambda: (_ for _ in [1 / 0]), {"raw": True}),
    (lambda: bottle.abort(500, "the secret inside"), {"raw": True}),
]


@pytest.mark.parametrize(("handler", "options"), WRONG)
def test_every_failure_is_a_logged_problem(
    caplog: pytest.LogCaptureFixture, handler: Any, options: dict[str, Any]
) -> None:
    seen: list[Exchange] = []
    app = client(lambda app: public(app, "/", handler, **options), seen=seen)
    response = app.get("/", status=500)
    assert response.content_type == "application/problem+json"
    assert response.json["request_id"] == response.headers["X-Request-ID"]
    assert "secret" not in response.text or handler is WRONG[-1][0]
    for name, value in DEFAULT_HEADERS:
        assert response.headers.getall(name) == [value]
    assert [exchange.status for exchange in seen] == [500]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_stream_that_fails_half_way_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Exchange] = []
    app = client(lambda app: public(app, "/", stream, raw=True), seen=seen)
    with pytest.raises(ZeroDivisionError):
        app.get("/")
    assert [record.message for record in caplog.records] == ["answer failed half-way"]


def test_a_problem_may_have_headers_and_no_default_twice() -> None:
    def busy() -> str:
        raise Problem(503, "Busy.", headers={"Retry-After": "7", "Cache-Control": "max-age=1"})

    response = client(lambda app: public(app, "/", busy)).get("/", status=503)
    assert response.headers["Retry-After"] == "7"
    assert response.headers.getall("Cache-Control") == ["max-age=1"]


@pytest.mark.parametrize("status", [409, 503])
def test_a_problem_of_ours_is_logged_with_its_cause(
    caplog: pytest.LogCaptureFixture, status: int
) -> None:
    def busy() -> None:
        try:
            raises(TimeoutError)
        except TimeoutError as error:
            raise Problem(status, "The store is busy.") from error

    client(lambda app: public(app, "/", busy)).get("/", status=status)
    logged = [
        (record.levelname, record.getMessage(), record.exc_info and record.exc_info[0])
        for record in caplog.records
    ]
    told = ("WARNING", "request failed: The store is busy.", TimeoutError)
    assert logged == ([told] if status >= 500 else [])


def test_one_constant_problem_for_all_requests() -> None:
    constant = Problem(503, "Busy.", headers={"Retry-After": "1"})

    def busy() -> None:
        raise constant

    app = client(lambda app: public(app, "/", busy))
    for accept in ("text/html", "application/json", "text/html", "application/json"):
        answer = app.get("/", headers={"Accept": accept}, status=503)
        assert answer.content_length == len(answer.body)
        assert len(answer.headers.getall("Content-Security-Policy")) == 1
        assert answer.headers["Retry-After"] == "1"
    assert constant.__traceback__ is None
    assert set(constant.headers) == {"Retry-After"}


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("raised", [False, True])
def test_an_answer_of_a_dict_is_json(raw: bool, raised: bool) -> None:
    def handler() -> HTTPResponse:
        answer = HTTPResponse({"a": 1, "b": 2}, 202)
        if raised:
            raise answer
        return answer

    answer = client(lambda app: public(app, "/", handler, raw=raw)).get("/", status=202)
    assert (answer.content_type, answer.json) == ("application/json", {"a": 1, "b": 2})


@pytest.mark.parametrize("raised", [False, True])
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (HTTPResponse(status=303, headers={"Location": "/"}), "committed"),
        (HTTPResponse({"a": 1}, 202), "committed"),
        (HTTPResponse("x", 409), "rolled back"),
        (Problem(409, "It has changed."), "rolled back"),
        (bottle.HTTPError(404, "x"), "rolled back"),
    ],
)
def test_an_answer_ends_a_transaction_alike_if_raised(
    answer: HTTPResponse, outcome: str, raised: bool
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
            raise answer
        return answer

    resources = {"session": PerRequest(transaction, lambda: None)}
    app = client(lambda app: public(app, "/", handler), resources=resources)
    for _ in range(2):
        assert app.get("/", status="*").status_int == answer.status_code
        depths.add(len(list(walk_tb(answer.__traceback__))))
    assert outcomes == [outcome, outcome]
    assert len(depths) == 1, "a constant grows with each raise"


def test_json_is_not_what_bottle_found_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bottle, "json_dumps", lambda _: "another library's")
    app = client(lambda app: public(app, "/", lambda: {"a": "/"}, raw=True))
    assert app.get("/").body == b'{"a":"/"}'


def test_one_constant_answer_for_all_requests() -> None:
    constant = HTTPResponse("x", headers={"Content-Type": "text/plain"})
    app = client(lambda app: public(app, "/", lambda: constant, raw=True))
    for _ in range(3):
        assert len(app.get("/").headers.getall("X-Request-ID")) == 1


# Error pages


@pytest.fixture
def own_views(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VIEWS_DIRECTORY, tmp_path / "views"))


def test_an_error_page_quotes_nothing_and_debug_mode_adds_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bottle, "DEBUG", True)
    app = client(lambda app: public(app, "/fails", lambda: 1 / 0))
    for path, status in (("/<script>", 404), ("/fails", 500)):
        for accept in ("text/html", "application/json"):
            text = app.get(path, headers={"Accept": accept}, status=status).text
            assert "script>" not in text
            assert "ZeroDivisionError" not in text


def test_an_error_page_that_fails(own_views: Path, caplog: pytest.LogCaptureFixture) -> None:
    (own_views / "error.tpl").write_text("{{'{{'}}nothing_of_this_name{{'}}'}}")
    app = client(lambda _: None, pages=ProblemPages(Views(own_views)))
    response = app.get("/", headers={"Accept": "text/html"}, status=404)
    assert response.content_type == "application/problem+json"
    assert "the error page failed" in caplog.text


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("% if:\n", "invalid syntax"),
        ("% rebase('layuot.tpl')\n", "there is no view 'layuot.tpl'"),
        ("% if title:\n%   include('none')\n% end\n", "there is no view 'none'"),
        ("<p>{{'{{'}}asset('ap.css'){{'}}'}}</p>", "there is no static file 'ap.css'"),
        ("% include('layout', title='')\n% rebase(service)\n asset('x'), include('y')", ""),
        ("{{'{{'}}asset('app.css'){{'}} {{'}}asset(service){{'}}'}}", ""),
    ],
)
def test_views_that_cannot_work(own_views: Path, source: str, reason: str) -> None:
    asset = Assets(STATIC_DIRECTORY, fingerprints=True).url
    assert Views(own_views, asset=asset).broken() == []
    (own_views / "home.tpl").write_text(source)
    found = [(path.name, str(error)) for path, error in Views(own_views, asset=asset).broken()]
    assert [name for name, _ in found] == (["home.tpl"] if reason else [])
    assert reason in "".join(error for _, error in found)


def test_a_browser_is_told_what_is_wrong() -> None:
    errors = [FieldError("/name", "is <required>"), FieldError("/<b>/0", "is not known")]
    errors.append(FieldError("", "is odd"))

    def refuse() -> None:
        raise Problem(422, "The form is not as it should be.", errors=errors)

    app = client(lambda app: public(app, "/", refuse))
    page = app.get("/", headers={"Accept": "text/html"}, status=422).text
    assert "<li>name: is &lt;required&gt;</li>" in page
    assert "<li>&lt;b&gt;/0: is not known</li>" in page
    assert "<li>is odd</li>" in page
    assert "<ul>" not in app.get("/none", headers={"Accept": "text/html"}, status=404).text


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
def test_who_gets_a_page(accept: str, page: bool) -> None:
    app = client(lambda _: None)
    answer = app.get("/", headers={"Accept": accept}, status=404)
    assert (answer.content_type == "text/html") == page
    assert app.get("/api", headers={"Accept": accept}, status=404).content_type != "text/html"

"""What web/ makes of Bottle: on an application of the tests' own, with routes that misbehave."""

import io
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bottle
import pytest
from bottle import Bottle, HTTPResponse, request
from msgspec import Struct
from webtest import TestApp, Upload

from {{ cookiecutter.package_name }}.environment import BootError
from {{ cookiecutter.package_name }}.settings import VIEWS_DIRECTORY
from {{ cookiecutter.package_name }}.web import inputs
from {{ cookiecutter.package_name }}.web.application import new_application
from {{ cookiecutter.package_name }}.web.observe import DEFAULT_HEADERS, Exchange
from {{ cookiecutter.package_name }}.web.problems import Problem, ProblemPages
from {{ cookiecutter.package_name }}.web.static import StaticFiles
from {{ cookiecutter.package_name }}.web.views import Views

from .service import COMMAND, ROOT

Routes = Callable[[Bottle], None]
ORIGIN = "https://app.example.com"


class Names(Struct):
    name: str
    count: int = 1


class Form(Struct, forbid_unknown_fields=True):
    name: str
    count: int = 1
    photo: inputs.Upload | None = None


class Recorder:
    """Keeps the exchanges that have ended."""

    def __init__(self, seen: list[Exchange]) -> None:
        self.end = seen.append

    def begin(self) -> None: ...


def build(add_routes: Routes, seen: list[Exchange] | None = None, **options: Any) -> Bottle:
    settings: dict[str, Any] = {
        "resources": {"number": 7},
        "caller_name": lambda token: token if token == "good" else None,
        "pages": ProblemPages(Views(VIEWS_DIRECTORY), hints=True),
        "admin_name": None,
        "recorders": [Recorder(seen)] if seen is not None else [],
        "cors_origins": [],
        "trusted_proxies": 0,
        "max_body_bytes": 200_000,
    }
    return new_application(add_routes, **{**settings, **options})


def public(
    app: Bottle, rule: str, handler: Any, method: str | list[str] = "GET", **options: Any
) -> None:
    app.route(rule, method, handler, public=True, **options)


def client(add_routes: Routes, **options: Any) -> TestApp:
    return TestApp(build(add_routes, **options))


def refused(add_routes: Routes) -> str:
    with pytest.raises(BootError) as caught:
        build(add_routes)
    return str(caught.value)


# What handlers do wrong


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


def test_a_problem_may_have_headers_and_no_default_twice() -> None:
    def busy() -> str:
        raise Problem(503, "Busy.", headers={"Retry-After": "7", "Cache-Control": "max-age=1"})

    response = client(lambda app: public(app, "/", busy)).get("/", status=503)
    assert response.headers["Retry-After"] == "7"
    assert response.headers.getall("Cache-Control") == ["max-age=1"]


def test_one_constant_answer_for_all_requests() -> None:
    constant = HTTPResponse("x", headers={"Content-Type": "text/plain"})
    app = client(lambda app: public(app, "/", lambda: constant, raw=True))
    for _ in range(3):
        assert len(app.get("/").headers.getall("X-Request-ID")) == 1


# What clients send


@pytest.fixture
def echo() -> TestApp:
    def handler() -> dict[str, Any]:
        cookies = {key: request.cookies[key] for key in request.cookies}
        headers = {key: request.headers[key] for key in request.headers}
        return {"cookies": cookies, "headers": headers, "length": request.content_length}

    def body(body: Names) -> Names:
        return body

    def add_routes(app: Bottle) -> None:
        public(app, "/", handler, ["GET", "POST"], raw=True)
        public(app, "/names", body, "POST")

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
    headers = echo.get("/", headers={"X-A": "caf\xe9", "X-B": "caf\xc3\xa9"}).json["headers"]
    assert (headers["X-A"], headers["X-B"]) == ("caf\ufffd", "caf\xe9")


@pytest.mark.parametrize("path", ["/%ff", "/%00", "/a%0a", "/%c2%85", "/%ed%a0%80"])
def test_unclean_paths(echo: TestApp, path: str) -> None:
    assert echo.get(path, status=400).json["status"] == 400


@pytest.mark.parametrize("path", ["", "http://[", "*"])
def test_paths_that_are_none(echo: TestApp, path: str) -> None:
    environ = {**echo.RequestClass.blank("/").environ, "PATH_INFO": path}
    answered: list[str] = []
    b"".join(echo.app(environ, lambda status, *_: answered.append(status)))
    assert answered[0].startswith("400 ")


@pytest.mark.parametrize("length", ["abc", "-1", "+1", "1_0", "٣", "9" * 30, "1, 1"])
def test_lengths_that_are_none(echo: TestApp, length: str) -> None:
    environ = {**echo.RequestClass.blank("/", method="POST").environ, "CONTENT_LENGTH": length}
    answered: list[str] = []
    b"".join(echo.app(environ, lambda status, *_: answered.append(status)))
    assert answered[0].startswith("400 ")


@pytest.mark.parametrize(
    ("terminated", "size", "status"), [(True, 10, 200), (True, 200_001, 413), (False, 10, 411)]
)
def test_chunked_bodies(echo: TestApp, terminated: bool, size: int, status: int) -> None:
    """As Gunicorn and Waitress hand them over: decoded, with the header still there."""
    body = json.dumps({"name": "x" * size}).encode()
    environ = {
        **echo.RequestClass.blank("/names", method="POST").environ,
        "CONTENT_TYPE": "application/json",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": terminated,
    }
    environ.pop("CONTENT_LENGTH", None)
    answered: list[str] = []
    b"".join(echo.app(environ, lambda status, *_: answered.append(status)))
    assert answered[0].startswith(f"{status} ")


def test_a_json_body_may_be_as_large_as_the_limit(echo: TestApp) -> None:
    """Bottle's own limit for JSON is 100 KiB."""
    assert echo.post_json("/names", {"name": "x" * 150_000}).json["count"] == 1


def test_a_body_that_ends_early(echo: TestApp) -> None:
    environ = {
        **echo.RequestClass.blank("/names", method="POST").environ,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "100",
        "wsgi.input": io.BytesIO(b'{"name": "x"}'),
    }
    answered: list[str] = []
    b"".join(echo.app(environ, lambda status, *_: answered.append(status)))
    assert answered[0].startswith("400 ")


class Malformed(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise ValueError("a chunk without a length")


def test_malformed_chunks(echo: TestApp) -> None:
    environ = {
        **echo.RequestClass.blank("/names", method="POST").environ,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": Malformed(),
        "wsgi.input_terminated": True,
    }
    answered: list[str] = []
    b"".join(echo.app(environ, lambda status, *_: answered.append(status)))
    assert answered[0].startswith("400 ")


def test_a_wrong_body_that_is_not_utf8(echo: TestApp) -> None:
    body = b'{"name": 3, "x": "\xff"}'
    echo.post("/names", body, content_type="application/json", status=400)


# Static files


def test_links_do_not_lead_outside(tmp_path: Path) -> None:
    inside = tmp_path / "static"
    inside.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (inside / "link.txt").symlink_to(tmp_path / "secret.txt")
    (inside / "unknown").write_text("<script>")
    files = StaticFiles(inside)
    app = client(lambda app: public(app, "/<path:path>", lambda path: files.serve(path)))
    app.get("/link.txt", status=404)
    assert app.get("/unknown").content_type == "application/octet-stream"


# Pages


@pytest.fixture
def own_views(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VIEWS_DIRECTORY, tmp_path / "views"))


def test_an_error_page_that_fails(own_views: Path, caplog: pytest.LogCaptureFixture) -> None:
    (own_views / "error.tpl").write_text("{{'{{'}}nothing_of_this_name{{'}}'}}")
    app = client(lambda _: None, pages=ProblemPages(Views(own_views)))
    response = app.get("/", headers={"Accept": "text/html"}, status=404)
    assert response.content_type == "application/problem+json"
    assert "the error page failed" in caplog.text


def test_views_that_are_no_templates(own_views: Path) -> None:
    assert Views(own_views).broken() == []
    (own_views / "home.tpl").write_text("% if:\n")
    assert [path.name for path, _ in Views(own_views).broken()] == ["home.tpl"]


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


# Forms


@pytest.fixture
def forms() -> TestApp:
    closed = []

    def handler(form: Form) -> dict[str, Any]:
        photo = form.photo
        closed.append(photo)
        content = photo.file.read().decode() if photo else None
        return {"name": form.name, "count": form.count, "photo": content}

    app = client(lambda app: public(app, "/", handler, "POST"))
    app.closed = closed
    return app


def test_forms(forms: TestApp) -> None:
    sent = {"name": "Zoë", "count": "3"}
    assert forms.post("/", sent).json == {"name": "Zoë", "count": 3, "photo": None}
    upload = Upload("a.txt", b"content", "text/plain")
    answer = forms.post("/", {**sent, "photo": upload}, content_type="multipart/form-data")
    assert answer.json["photo"] == "content"
    assert forms.closed[-1].file.closed


MULTIPART = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"name=x", 415),
        ("application/json", b"{}", 415),
        ("application/x-www-form-urlencoded", b"count=3", 422),
        ("application/x-www-form-urlencoded", b"name=a&name=b", 422),
        ("application/x-www-form-urlencoded", b"name=\xff", 400),
        ("application/x-www-form-urlencoded", b"a=1&" * 200, 400),
        ("application/x-www-form-urlencoded; charset=nonsense", b"name=a", 400),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=", b"x", 400),
        (MULTIPART, b"junk", 400),
        (MULTIPART, b"--b\r\nContent-Disposition: form-data; name=name\r\n\r\nx", 400),
        (MULTIPART, b"--b\r\n\r\nx\r\n--b--\r\n", 400),
        (
            MULTIPART,
            b"--b\r\nContent-Disposition: form-data; name=name\r\n\r\n\xff\r\n--b--\r\n",
            400,
        ),
        (MULTIPART, b"--b\r\nContent-Length: abc\r\n\r\nx\r\n--b--\r\n", 400),
        (MULTIPART, b"\r\n" * 50_000, 400),
    ],
)
def test_malformed_forms(forms: TestApp, content_type: str, body: bytes, status: int) -> None:
    headers = {"Content-Type": content_type}
    answer = forms.request("/", method="POST", body=body, headers=headers, expect_errors=True)
    assert answer.status_int == status
    assert answer.content_type == "application/problem+json"


# Routing


@pytest.fixture
def routed() -> TestApp:
    def add_routes(app: Bottle) -> None:
        public(app, "/things", lambda: [1], ["GET", "POST"])
        public(app, "/moved/<name>", lambda name: [name], redirect_slash=True)

    return client(add_routes)


def test_methods(routed: TestApp) -> None:
    assert routed.delete("/things", status=405).headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    options = routed.options("/things", status=204)
    assert (options.headers["Allow"], options.body) == ("GET, HEAD, OPTIONS, POST", b"")
    routed.options("/nothing", status=404)


def test_a_hint_in_development(routed: TestApp) -> None:
    assert "Did you mean /things?" in routed.get("/things/", status=404).json["detail"]
    assert "mean" not in routed.get("/zzz", status=404).json["detail"]


@pytest.mark.parametrize(
    ("path", "location"),
    [("/moved/a/", "/moved/a"), ("/moved/%C3%A9/?q=%2F", "/moved/%C3%A9?q=%2F")],
)
def test_a_trailing_slash_where_the_route_asks(routed: TestApp, path: str, location: str) -> None:
    assert (
        routed.get(path, status=308).headers["Location"].removeprefix("http://localhost")
        == location
    )


def test_no_redirect_to_another_host(routed: TestApp) -> None:
    for path in ("//evil.example/", "//moved/a/", "/moved//evil.example/"):
        environ = {**routed.RequestClass.blank("/").environ, "PATH_INFO": path}
        told: list[Any] = []
        b"".join(routed.app(environ, lambda status, headers, *_, told=told: told.extend(headers)))
        assert not dict(told).get("Location", "").startswith("//")


# Other origins


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


# Boot


async def coroutine() -> str:
    return ""


def test_routes_that_could_never_work() -> None:
    def add_routes(app: Bottle) -> None:
        public(app, "/a", coroutine)
        public(app, "/b", stream)
        public(app, "/c/<x>", lambda: 1)
        public(app, "/d", lambda y: 1)
        public(app, "/e", lambda body: 1)
        public(app, "/f/<x>", lambda x: 1)
        public(app, "/f/<y>", lambda y: 1)
        public(app, "/g", coroutine, raw=True)

    problems = refused(add_routes)
    for place, reason in {
        "GET /a": "is async",
        "GET /b": "is a generator",
        "GET /c/<x>": "add a parameter for the wildcard x",
        "GET /d": "nothing is called 'y'",
        "GET /e": "give the parameter 'body' a type",
        "GET /f/<y>": "is there already, as GET /f/<x>",
        "GET /g": "is async",
    }.items():
        assert re.search(rf"{re.escape(place)}: [^;]*{re.escape(reason)}", problems), problems


def test_routes_on_the_global_application() -> None:
    with bottle.app.push() as other:
        other.route("/global", "GET", lambda: "")
        assert "GET /global: is on Bottle's global application" in refused(lambda _: None)
    bottle.app.pop()


def test_no_route_is_added_later() -> None:
    app = build(lambda app: public(app, "/", lambda: 1))
    with pytest.raises(RuntimeError, match="sealed"):
        app.route("/late", "GET", lambda: "")


def test_two_applications_share_nothing() -> None:
    one = client(lambda app: public(app, "/0", lambda: 1))
    two = client(lambda app: public(app, "/1", lambda: 1))
    one.get("/0", status=200)
    one.get("/1", status=404)
    two.get("/1", status=200)


def test_a_call_of_another_application_inside_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    inner = build(lambda app: public(app, "/", lambda: "inner"))

    def outer() -> list[str]:
        TestApp(inner).get("/")
        return ["outer"]

    client(lambda app: public(app, "/", outer)).get("/", status=500)
    assert "another request's" in str(caplog.records[0].exc_info)


def test_threads_do_not_mix() -> None:
    barrier = threading.Barrier(8, timeout=10)

    def handler(name: str) -> list[str]:
        barrier.wait()
        return [name, request.path]

    app = client(lambda app: public(app, "/<name>", handler))
    wrong: list[Any] = []

    def call(name: str) -> None:
        for _ in range(20):
            answer = app.get(f"/{name}").json
            if answer != [name, f"/{name}"]:
                wrong.append(answer)

    threads = [threading.Thread(target=call, args=[f"n{i}"]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Lint

BANNED = """
from bottle import default_app, redirect, request, response, route, run, template
request.url
request.forms
request.files
request.json
request.query
request.params
request.remote_addr
request.get_cookie("a")
response.set_cookie("a", "b")
"""


def test_every_ban_bites(tmp_path: Path) -> None:
    lines = [line for line in BANNED.splitlines() if line]
    file = ROOT / "src" / COMMAND[-1] / "banned.py"
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251", "--output-format", "json", f"--stdin-filename={file}", "-"],
        cwd=ROOT, input="\n".join(lines), check=False, capture_output=True, text=True,
    )  # fmt: skip
    found = [finding["message"] for finding in json.loads(done.stdout)]
    assert len(found) == len(lines) - 1 + lines[0].count(",") - 1

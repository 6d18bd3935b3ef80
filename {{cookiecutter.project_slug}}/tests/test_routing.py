"""The routes: their methods and addresses, and what is refused before they are served."""

import mimetypes
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import bottle
import pytest
from bottle import Bottle
from msgspec import Struct
from webtest import TestApp

from {{ cookiecutter.package_name }}.web.static import StaticFiles

from .stack import build, client, public, refused


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


def test_a_trailing_slash_and_a_query_that_no_header_can_hold(routed: TestApp) -> None:
    environ = {**routed.RequestClass.blank("/moved/a/").environ, "QUERY_STRING": "a=\r\x01 \xff&b"}
    told: list[Any] = []
    b"".join(routed.app(environ, lambda status, headers, *_: told.extend([status, *headers])))
    assert told[0] == "308 Permanent Redirect"
    assert ("Location", "/moved/a?a=%0D%01%20%FF&b") in told


def test_a_trailing_slash_before_a_route_for_all_the_rest() -> None:
    def add_routes(app: Bottle) -> None:
        public(app, "/moved/<name>", lambda name: [name], redirect_slash=True)
        public(app, "/<rest:path>", lambda rest: [rest])

    app = client(add_routes)
    assert app.get("/moved/a/", status=308).headers["Location"].endswith("/moved/a")
    assert app.get("/moved/a/b/").json == ["moved/a/b/"]


def test_no_redirect_to_another_host() -> None:
    anything = r"/<name:re:[/\\]*[a-z.]+>"
    app = client(lambda app: public(app, anything, lambda name: name, redirect_slash=True))
    for path in ("//evil.example/", "///evil.example/", "/\\evil.example/"):
        environ = {**app.RequestClass.blank("/").environ, "PATH_INFO": path}
        told: list[Any] = []
        b"".join(app.app(environ, lambda status, headers, *_, told=told: told.extend(headers)))
        assert re.match("/[^/\\\\]", dict(told)["Location"])


# Boot


async def coroutine() -> str:
    return ""


class Circle(Struct):
    radius: float


class Square(Struct):
    side: float


def either(body: Circle | Square) -> None: ...


def unknown(body: "Triangle") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def generator() -> Iterator[bytes]:
    yield b""


def test_routes_that_could_never_work() -> None:
    def add_routes(app: Bottle) -> None:
        public(app, "/a", coroutine)
        public(app, "/b", generator)
        public(app, "/c/<x>", lambda: 1)
        public(app, "/d", lambda y: 1)
        public(app, "/e", lambda body: 1)
        public(app, "/f/<x>", lambda x: 1)
        public(app, "/f/<y>", lambda y: 1)
        public(app, "/g", coroutine, raw=True)
        public(app, "/g/<x:int>", lambda x: 1)
        public(app, "/g/<y:int>", lambda y: 1)
        public(app, "/h/<x>/i", lambda x: 1)
        public(app, "/i/<p:path>", lambda p: 1)
        public(app, "/i/<n:int>", lambda n: 1)
        public(app, "/i/a/<x>/b", lambda x: 1)
        public(app, "/j", either, "POST")
        public(app, "/k", unknown, "POST")
        public(app, "/l", partial(either, Circle(1)), "POST")
        public(app, "/h/<x:int>/i", lambda x: 1)

    problems = refused(add_routes)
    for place, reason in {
        "GET /a": "is async",
        "GET /b": "is a generator",
        "GET /c/<x>": "add a parameter for the wildcard x",
        "GET /d": "nothing is called 'y'",
        "GET /e": "give the parameter 'body' a type",
        "GET /f/<y>": "is hidden by GET /f/<x>",
        "GET /g": "is async",
        "GET /g/<y:int>": "is hidden by GET /g/<x:int>",
        "GET /h/<x:int>/i": "is hidden by GET /h/<x>/i",
        "GET /i/<n:int>": "is hidden by GET /i/<p:path>",
        "GET /i/a/<x>/b": "is hidden by GET /i/<p:path>",
        "POST /j": "all Struct types must be tagged",
        "POST /k": "name 'Triangle' is not defined",
        "POST /l": "is not a module, class, method, or function",
    }.items():
        assert re.search(rf"{re.escape(place)}: [^;]*{re.escape(reason)}", problems), problems


def test_routes_that_only_seem_hidden() -> None:
    def add_routes(app: Bottle) -> None:
        public(app, "/a/<p:path>", lambda p: ["path", p])
        public(app, "/a/b", lambda: ["rule without a wildcard"])
        public(app, "/a/<n:int>", lambda n: ["method", n], "PUT")
        public(app, "/b/<x>", lambda x: ["one segment", x])
        public(app, "/b/<p:path>", lambda p: ["path", p])
        public(app, "/c/<n:int>", lambda n: ["int", n])
        public(app, "/c/<x>", lambda x: ["one segment", x])

    app = client(add_routes)
    assert app.get("/a/b").json == ["rule without a wildcard"]
    assert app.put("/a/1").json == ["method", 1]
    assert app.get("/b/c/d").json == ["path", "c/d"]
    assert app.get("/c/d").json == ["one segment", "d"]


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


# Static files


def test_types_of_files_are_not_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mimetypes, "_db", mimetypes.MimeTypes())
    mimetypes.add_type("text/html", ".css")
    (tmp_path / "app.css").write_text("")
    (tmp_path / "app.css.gz").write_text("")
    files = StaticFiles(tmp_path)
    app = client(lambda app: public(app, "/<path:path>", lambda path: files.serve(path)))
    assert app.get("/app.css").content_type == "text/css"
    assert app.get("/app.css.gz").content_type == "application/octet-stream"
    app.get("/app.css/", status=404)


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


@pytest.mark.parametrize(
    ("asked", "status", "content_range"),
    [
        ("bytes=1-2", 206, "bytes 1-2/5"),
        ("bytes=5-", 416, "bytes */5"),
        ("items=0-5", 200, None),
    ],
)
def test_parts_of_a_file(
    tmp_path: Path, asked: str, status: int, content_range: str | None
) -> None:
    (tmp_path / "a.txt").write_text("12345")
    files = StaticFiles(tmp_path)
    app = client(lambda app: public(app, "/<path:path>", lambda path: files.serve(path)))
    answer = app.get("/a.txt", headers={"Range": asked}, status=status)
    assert answer.headers.get("Content-Range") == content_range
    assert len(answer.headers.getall("Cache-Control")) == 1

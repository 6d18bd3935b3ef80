"""Routing: methods, redirects, IDs, and the validation of routes at startup."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import bottle
import pytest
from bottle import Bottle
from msgspec import Struct
from webtest import TestApp

from bottle_service.http.problems import Environ, WSGIApp

from .apps import build_app, client_for, raw_response, startup_errors


@pytest.fixture
def client() -> TestApp:
    return client_for(
        (["GET", "POST"], "/things", lambda: [1]),
        ("GET", "/moved/<name>", lambda name: [name], {"redirect_slashes": True}),
        ("GET", "/ids/<number:id>", lambda number: [number]),
    )


def test_allow_header_is_complete(client: TestApp) -> None:
    response = client.delete("/things", status=405)
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    response = client.options("/things", status=204)
    assert (response.headers["Allow"], response.body) == ("GET, HEAD, OPTIONS, POST", b"")
    client.options("/nothing", status=404)


def test_404_suggests_a_close_route_in_development(client: TestApp) -> None:
    assert "Did you mean /things?" in client.get("/things/", status=404).json["detail"]
    assert "mean" not in client.get("/zzz", status=404).json["detail"]


@pytest.mark.parametrize("number", ["0", "01", "-1", "x", "1.0", "%D9%A3", "9" * 19, "9" * 5000])
def test_invalid_id_is_404(client: TestApp, number: str) -> None:
    client.get(f"/ids/{number}", status=404)


@pytest.mark.parametrize(
    "path",
    [f"/int/{number}" for number in (2**63, -(2**63) - 1, "9" * 20, "9" * 5000, "%D9%A3", "1.0")]
    + [f"/float/{number}" for number in ("9" * 400, "1.2.3", ".", "-", "%D9%A3", "nan", "1e5")],
)
def test_number_that_no_database_stores_is_404(path: str) -> None:
    client = client_for(
        ("GET", "/int/<n:int>", lambda n: n),
        ("GET", "/float/<n:float>", lambda n: n),
    )
    problem = client.get(path, status=404)
    assert problem.content_type == "application/problem+json"


def test_numbers_of_a_path_are_read() -> None:
    client = client_for(
        ("GET", "/int/<n:int>", lambda n: n),
        ("GET", "/float/<n:float>", lambda n: n),
        ("GET", "/raw/<n:int>", lambda n: str(n + 1), {"raw": True}),
    )
    for number in (2**63 - 1, -(2**63), 0):
        assert client.get(f"/int/{number}").json == number
    for text in ("1.5", "-2", ".5", "5."):
        assert client.get(f"/float/{text}").json == float(text)
    assert client.get("/raw/007").text == "8"
    client.get(f"/raw/{2**63}", status=404)


def test_largest_id_is_accepted(client: TestApp) -> None:
    assert client.get(f"/ids/{'9' * 18}").json == [int("9" * 18)]


@pytest.mark.parametrize(
    ("path", "location"),
    [("/moved/a/", "/moved/a"), ("/moved/%C3%A9/?q=%2F", "/moved/%C3%A9?q=%2F")],
)
def test_redirect_slashes_keeps_path_and_query(client: TestApp, path: str, location: str) -> None:
    response = client.get(path, status=308)
    assert response.headers["Location"].removeprefix("http://localhost") == location


def test_redirect_quotes_a_query_that_no_header_can_hold(client: TestApp) -> None:
    query = "a=\r\x01 \xff&b"
    status, headers = raw_response(client, "/moved/a/", REQUEST_METHOD="GET", QUERY_STRING=query)
    assert status == 308
    assert ("Location", "/moved/a?a=%0D%01%20%FF&b") in headers


def test_redirect_precedes_a_later_route_of_all_paths() -> None:
    client = client_for(
        ("GET", "/moved/<name>", lambda name: [name], {"redirect_slashes": True}),
        ("GET", "/<rest:path>", lambda rest: [rest]),
    )
    assert client.get("/moved/a/", status=308).headers["Location"].endswith("/moved/a")
    assert client.get("/moved/a/b/").json == ["moved/a/b/"]


@pytest.mark.parametrize("path", ["//evil.example/", "///evil.example/", "/\\evil.example/"])
def test_redirect_never_names_another_host(path: str) -> None:
    rule = r"/<name:re:[/\\]*[a-z.]+>"
    client = client_for(("GET", rule, lambda name: name, {"redirect_slashes": True}))
    _, headers = raw_response(client, path, REQUEST_METHOD="GET")
    assert re.match("/[^/\\\\]", dict(headers)["Location"])


# Validation at startup


async def coroutine() -> str:
    return ""


class Circle(Struct):
    radius: float


class Square(Struct):
    side: float


def either(body: Circle | Square) -> int:
    return 1


def unknown(body: "Triangle") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def generator() -> Iterator[bytes]:
    yield b""


async def async_generator() -> Any:
    yield b""


class CallableObject:
    def __call__(self) -> list[int]:
        return [1]


def add(number: int, other: int) -> int:
    return number + other


NOT_A_FUNCTION = "is not a function or method; use `def`"


@pytest.mark.parametrize(
    ("rule", "handler", "reason"),
    [
        ("/", coroutine, "is async, which WSGI cannot run; use `def`"),
        ("/", async_generator, "is async, which WSGI cannot run; use `def`"),
        ("/", generator, "is a generator, which outlives its dependencies; return a list"),
        ("/<x>", lambda: 1, "add a parameter for the wildcard x"),
        (
            "/",
            lambda y: 1,
            "unknown parameter 'y'; available: body, client_name, environ, form, query, number",
        ),
        ("/", lambda body: 1, "parameter 'body' has no type; annotate it"),
        ("/", either, "all Struct types must be tagged"),
        ("/", unknown, "name 'Triangle' is not defined"),
        ("/", partial(either, Circle(1)), NOT_A_FUNCTION),
        ("/", partial(add, other=1), NOT_A_FUNCTION),
        ("/", CallableObject(), NOT_A_FUNCTION),
    ],
)
def test_handler_that_could_never_work_is_rejected(
    rule: str, handler: Callable[..., Any], reason: str
) -> None:
    problems = startup_errors(("POST", rule, handler))
    assert re.search(rf"^POST {re.escape(rule)}: .*{re.escape(reason)}", problems)


def test_method_of_an_object_is_a_handler() -> None:
    assert client_for(("GET", "/", CallableObject().__call__)).get("/").json == [1]


def test_raw_coroutine_is_rejected() -> None:
    assert "GET /: is async" in startup_errors(("GET", "/", coroutine, {"raw": True}))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/<x>", "/<x>"),
        ("/<x>", "/<y>"),
        ("/<x:int>", "/<y:int>"),
        ("/<x>/i", "/<x:int>/i"),
        ("/<x:path>", "/<x:int>"),
        ("/i/<x:path>", "/i/a/<x>/b"),
    ],
)
def test_hidden_route_is_rejected(first: str, second: str) -> None:
    routes = [
        ("GET", rule, (lambda y: 1) if "<y" in rule else lambda x: 1) for rule in (first, second)
    ]
    problems = startup_errors(*routes)
    assert problems == f"GET {second}: is hidden by GET {first}"


def test_routes_that_only_seem_hidden_are_served() -> None:
    client = client_for(
        ("GET", "/a/<p:path>", lambda p: ["path", p]),
        ("GET", "/a/b", lambda: ["rule without a wildcard"]),
        ("PUT", "/a/<n:int>", lambda n: ["method", n]),
        ("GET", "/b/<x>", lambda x: ["one segment", x]),
        ("GET", "/b/<p:path>", lambda p: ["path", p]),
        ("GET", "/c/<n:int>", lambda n: ["int", n]),
        ("GET", "/c/<x>", lambda x: ["one segment", x]),
    )
    assert client.get("/a/b").json == ["rule without a wildcard"]
    assert client.put("/a/1").json == ["method", 1]
    assert client.get("/b/c/d").json == ["path", "c/d"]
    assert client.get("/c/d").json == ["one segment", "d"]


def test_problems_of_all_routes_are_reported_together() -> None:
    problems = startup_errors(("GET", "/a", coroutine), ("GET", "/b", generator))
    assert "GET /a: is async" in problems
    assert "GET /b: is a generator" in problems


@pytest.mark.parametrize(
    ("option", "meant"),
    [("redirect_slash", "redirect_slashes"), ("publik", "public"), ("stauts", "status")],
)
def test_misspelt_route_option_is_rejected(option: str, meant: str) -> None:
    problems = startup_errors(("GET", "/", lambda: 1, {option: True}))
    assert problems == f"GET /: unknown option {option!r}; did you mean {meant}?"


def test_option_of_another_plugin_is_accepted() -> None:
    build_app(("GET", "/", lambda: 1, {"cache_seconds": 5}))


def test_global_route_is_rejected() -> None:
    with bottle.app.push() as other:
        other.route("/global", "GET", lambda: "")
        assert "GET /global: is on Bottle's global application" in startup_errors()
    bottle.app.pop()


@pytest.mark.parametrize(
    "change",
    [
        lambda app: app.route("/late", "GET", lambda: ""),
        lambda app: app.add_hook("before_request", lambda: None),
        lambda app: app.install(lambda callback: callback),
        lambda app: app.uninstall(True),
        lambda app: app.mount("/late", Bottle()),
        lambda app: app.merge([]),
    ],
)
def test_frozen_application_rejects_changes(change: Callable[[Bottle], Any]) -> None:
    app = build_app(("GET", "/", lambda: 1))
    with pytest.raises(RuntimeError, match="frozen"):
        change(app)


def test_more_middleware_can_be_added_twice() -> None:
    def add_header(app: WSGIApp, name: str) -> WSGIApp:
        def middleware(environ: Environ, start_response: Any) -> Any:
            def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
                return start_response(status, [*headers, ("X-Order", name)], exc_info)

            return app(environ, start)

        return middleware

    app = build_app(("GET", "/", lambda: 1))
    app.wsgi = add_header(app.wsgi, "inner")
    app.wsgi = add_header(app.wsgi, "outer")
    assert TestApp(app).get("/").headers.getall("X-Order") == ["inner", "outer"]


def test_two_applications_share_nothing() -> None:
    one = client_for(("GET", "/0", lambda: 1))
    two = client_for(("GET", "/1", lambda: 1))
    one.get("/0", status=200)
    one.get("/1", status=404)
    two.get("/1", status=200)

"""Handlers: arguments are injected by parameter name, the result becomes the response."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import pytest
from bottle import HTTPResponse, request
from bottle import response as bottle_response
from msgspec import Meta, Struct
from webtest import TestApp

from bottle_service.http import RequestScoped

from .apps import TOKEN, build_app, client_for, startup_errors


class Thing(Struct):
    id: int


def show(number: int, name: str) -> dict[str, Any]:
    return {"number": number, "name": name}


def test_dependency_and_wildcard_are_injected() -> None:
    client = client_for(("GET", "/<name>", show))
    assert client.get("/a").json == {"number": 7, "name": "a"}


def test_status_and_location_of_the_route_are_set() -> None:
    options = {"status": 201, "location": "/things/{0.id}"}
    response = client_for(("POST", "/things", lambda: Thing(5), options)).post("/things")
    assert (response.status_int, response.json) == (201, {"id": 5})
    assert response.headers["Location"].endswith("/things/5")
    assert response.content_type == "application/json"


class Named(Struct):
    name: str


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a b", "a%20b"),
        ("Zo\u00eb", "Zo%C3%AB"),
        ("a?b#c", "a%3Fb%23c"),
        ("100%", "100%25"),
        ("a/b:c@d", "a/b:c@d"),
        ("a\r\nX-Evil: 1", "a%0D%0AX-Evil:%201"),
        ('"<>\\^`{}', "%22%3C%3E%5C%5E%60%7B%7D"),
    ],
)
@pytest.mark.parametrize(
    ("pattern", "result"),
    [
        ("/caf\u00e9/{0.name}", Named),
        ("/caf%C3%A9/{0[name]}", lambda name: {"name": name}),
        ("/caf\u00e9/{0!s}", str),
    ],
)
def test_location_is_percent_encoded(name: str, path: str, pattern: str, result: Any) -> None:
    options = {"status": 201, "location": pattern}
    response = client_for(("POST", "/", lambda: result(name), options)).post("/")
    assert response.headers["Location"] == f"/caf%C3%A9/{path}"


def test_query_of_the_location_pattern_is_kept() -> None:
    options = {"status": 201, "location": "/things?id={0.id:03}#top"}
    response = client_for(("POST", "/", lambda: Thing(5), options)).post("/")
    assert response.headers["Location"].endswith("/things?id=005#top")


def test_status_204_sends_no_body() -> None:
    response = client_for(("DELETE", "/", lambda: None, {"status": 204})).delete("/", status=204)
    assert response.body == b""


@pytest.mark.parametrize("status", [204, 304])
def test_status_of_the_handler_without_a_body_sends_none(status: int) -> None:
    def handler() -> Thing:
        bottle_response.status = status
        return Thing(5)

    response = client_for(("GET", "/", handler)).get("/", status=status)
    assert response.body == b""
    assert "Content-Type" not in response.headers


def test_head_of_json_has_its_headers_and_no_body() -> None:
    client = client_for(("GET", "/", lambda: Thing(5)))
    response, get = client.head("/"), client.get("/")
    assert response.body == b""
    assert response.headers["Content-Length"] == get.headers["Content-Length"]
    assert response.content_type == "application/json"


def test_headers_and_cookies_of_the_handler_are_sent() -> None:
    def handler() -> Thing:
        bottle_response.set_header("X-Own", "1")
        bottle_response.add_header("Set-Cookie", "a=b; HttpOnly")
        return Thing(5)

    response = client_for(("GET", "/", handler)).get("/")
    assert (response.headers["X-Own"], response.headers["Set-Cookie"]) == ("1", "a=b; HttpOnly")
    assert response.headers.getall("Content-Type") == ["application/json"]


@pytest.mark.parametrize("is_raised", [False, True])
@pytest.mark.parametrize("has_session", [False, True])
def test_response_of_a_struct_is_json(has_session: bool, is_raised: bool) -> None:
    def answer() -> HTTPResponse:
        headers = {"X-Own": "1", "Content-Type": "application/geo+json"}
        result = HTTPResponse(Thing(5), 202, headers)
        if is_raised:
            raise result
        return result

    def answer_in_session(session: Connection) -> HTTPResponse:
        return answer()

    connection = Connection()
    dependencies = {"session": RequestScoped(connection.open, connection.close)}
    handler = answer_in_session if has_session else answer
    response = client_for(("POST", "/", handler), dependencies=dependencies).post("/")
    assert (response.status_int, response.json) == (202, {"id": 5})
    assert (response.content_type, response.headers["X-Own"]) == ("application/geo+json", "1")


CONSTANT = HTTPResponse([{"id": 5}], 201)


def test_http_response_has_the_headers_of_the_route() -> None:
    """As a PUT needs that is 201 if it creates. The constant stays as it is."""
    own = HTTPResponse(Thing(7), 200, {"Location": "/own"})
    results = {"a": HTTPResponse(Thing(5), 201), "own": own, "list": CONSTANT}
    results["none"] = HTTPResponse(status=202)
    options = {"etag": "v1", "location": "/things/1"}
    client = client_for(("PUT", "/<name>", lambda name: results[name], options))
    for _ in range(2):
        created = client.put("/a", status=201)
        assert (created.json, created.headers["ETag"]) == ({"id": 5}, '"v1"')
        assert created.headers["Location"].endswith("/things/1")
        assert client.put("/own").headers["Location"].endswith("/own")
        assert client.put("/list", status=201).json == [{"id": 5}]
        assert "ETag" not in client.put("/none", status=202).headers
    assert CONSTANT.body == [{"id": 5}]
    assert not CONSTANT.headers.keys()


def test_http_response_can_be_304() -> None:
    handler = lambda: HTTPResponse(Thing(5), headers={"X-Own": "1"})  # noqa: E731
    client = client_for(("GET", "/", handler, {"etag": "{0.id}"}))
    assert client.get("/", headers={"If-None-Match": '"5"'}, status=304).body == b""
    assert client.get("/", headers={"If-None-Match": '"4"'}).json == {"id": 5}


@pytest.mark.parametrize("body", [5, object(), {"x": object()}, [Thing(1), object()]])
def test_http_response_that_cannot_be_sent_is_not_committed(body: Any) -> None:
    connection = Connection()

    def handler(session: Connection) -> HTTPResponse:
        return HTTPResponse(body, 200)

    dependencies = {"session": RequestScoped(connection.open, connection.close)}
    client_for(("POST", "/", handler), dependencies=dependencies).post("/", status=500)
    assert connection.events == ["opened for POST"]


def test_redirect_may_return_nothing() -> None:
    def move() -> None:
        pass

    client = client_for(("GET", "/", move, {"status": 303, "location": "/docs"}))
    response = client.get("/", status=303)
    assert (response.body, response.headers["Location"]) == (b"", "/docs")


def nothing() -> None:
    pass


def binary() -> bytes:
    return b""


def body_and_form(body: Thing, form: Thing) -> int:
    return 1


def limited_bytes(body: Annotated[bytes, Meta(max_length=5)]) -> int:
    return 1


def optional_bytes(body: bytes | None) -> int:
    return 1


@pytest.mark.parametrize(
    ("handler", "options", "advice"),
    [
        (nothing, {}, "returns None; return a value, or add the option status=204"),
        (binary, {}, "returns bytes, which JSON lacks; return HTTPResponse(body, headers=…)"),
        (
            body_and_form,
            {},
            "takes body and form, but a request has one of them; remove a parameter",
        ),
        (
            show,
            {"consumes": "text/csv"},
            "has the option `consumes`; add a parameter `body: bytes`",
        ),
        (limited_bytes, {}, "parameter 'body' must be `body: bytes`; max_body limits its length"),
        (optional_bytes, {}, "parameter 'body' must be `body: bytes`; max_body limits its length"),
    ],
)
def test_handler_that_would_always_fail_is_rejected(
    handler: Any, options: dict[str, Any], advice: str
) -> None:
    rule = "/<name>" if handler is show else "/"
    assert startup_errors(("POST", rule, handler, options)) == f"POST {rule}: {advice}"


@pytest.mark.parametrize("name", ["body", "client_name", "environ", "form", "query"])
def test_wildcard_with_the_name_of_another_value_is_rejected(name: str) -> None:
    problems = startup_errors(("GET", f"/<{name}>", lambda **_wildcards: 1))
    assert problems == (
        f"GET /<{name}>: rename the wildcard '{name}': a parameter of this name is another value"
    )


def test_raw_handler_is_a_plain_bottle_handler() -> None:
    def plain(name: str) -> str:
        return f"{name} of {request.path}"

    response = client_for(("GET", "/<name>", plain, {"raw": True})).get("/a")
    assert (response.content_type, response.text) == ("text/html", "a of /a")


class CallableObject:
    def __call__(self) -> str:
        return ""


@pytest.mark.parametrize("handler", [partial(show, number=1), CallableObject()])
@pytest.mark.parametrize("raw", [False, True])
def test_handler_that_is_not_a_function_is_rejected(handler: Any, raw: bool) -> None:
    """`routes` prints the name of a handler, and only functions have type hints."""
    problems = startup_errors(("GET", "/<name>", handler, {"raw": raw}))
    assert problems == "GET /<name>: is not a function or method; use `def`"


class Connection:
    """A dependency that records its use."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @contextmanager
    def open(self, method: str) -> Iterator["Connection"]:
        self.events.append(f"opened for {method}")
        yield self
        self.events.append("committed")

    def close(self) -> None:
        self.events.append("closed")


def test_request_scoped_dependency_is_opened_for_each_request() -> None:
    connection = Connection()

    def handler(session: Connection) -> int:
        return len(session.events)

    dependencies = {"session": RequestScoped(connection.open, connection.close)}
    app = build_app((["GET", "POST"], "/", handler), dependencies=dependencies)
    assert TestApp(app).get("/").json == 1
    assert TestApp(app).post("/").json == 3
    app.close()
    opened = ["opened for GET", "committed", "opened for POST", "committed"]
    assert connection.events == [*opened, "closed"]


def test_result_that_cannot_be_encoded_is_not_committed() -> None:
    connection = Connection()

    def handler(session: Connection) -> object:
        return object()

    dependencies = {"session": RequestScoped(connection.open, connection.close)}
    client_for(("GET", "/", handler), dependencies=dependencies).get("/", status=500)
    assert connection.events == ["opened for GET"]


# Authentication


@pytest.mark.parametrize(
    "credentials",
    [None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer a b", "bearer  ", f"{TOKEN}"],
)
def test_route_without_a_valid_token_is_401(credentials: str | None) -> None:
    client = client_for(("GET", "/", lambda: 1, {"public": False}))
    headers = {"Authorization": credentials} if credentials else {}
    response = client.get("/", headers=headers, status=401)
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.content_type == "application/problem+json"


def test_valid_token_names_the_client() -> None:
    def name() -> str:
        return str(request.environ["service.client_name"])

    client = client_for(("GET", "/", name, {"public": False, "raw": True}))
    for scheme in ("Bearer", "bearer", "BEARER "):
        assert client.get("/", headers={"Authorization": f"{scheme} {TOKEN}"}).text == "tester"


def test_404_and_405_precede_401() -> None:
    client = client_for(("POST", "/things", lambda: 1, {"public": False}))
    client.get("/things/1/none", status=404)
    client.request("/things", method="PATCH", status=405)
    client.post("/things", status=401)


def test_admin_route_without_admin_token_is_404() -> None:
    client = client_for(("GET", "/", lambda: 1, {"public": False, "admin": True}))
    problem = client.get("/", headers={"Authorization": f"Bearer {TOKEN}"}, status=404)
    assert problem.json["detail"] == "There is nothing at this address."


def test_admin_route_requires_the_admin_token() -> None:
    client = client_for(
        ("GET", "/", lambda: HTTPResponse("secret"), {"public": False, "admin": True}),
        authenticate_admin=lambda token: "admin" if token == "admin-token" else None,
    )
    client.get("/", headers={"Authorization": f"Bearer {TOKEN}"}, status=401)
    assert client.get("/", headers={"Authorization": "Bearer admin-token"}).text == "secret"


def test_route_with_a_role_is_403_for_other_clients() -> None:
    roles: dict[str, Any] = {"anna": {"reader", "editor"}, "bert": {"reader"}, "dora": "editors"}
    seen = []

    def show(client_name: str) -> str:
        seen.append(client_name)
        return client_name

    client = client_for(
        ("GET", "/", show, {"public": False, "role": "editor"}),
        authenticate_client=lambda token: token,
        roles_of=lambda name: roles.get(name, set()),
    )
    client.get("/", status=401)
    client.authorization = ("Bearer", "anna")
    assert client.get("/").json == "anna"
    for name in ("bert", "carl", "dora"):
        client.authorization = ("Bearer", name)
        problem = client.get("/", status=403)
        assert problem.json["detail"] == "This needs the role 'editor'."
    assert seen == ["anna"]


class Role(StrEnum):
    EDITOR = "editor"


def test_role_may_be_a_member_of_an_enum() -> None:
    client = client_for(
        ("GET", "/", lambda: 1, {"public": False, "role": Role.EDITOR}),
        roles_of=lambda _name: set(),
    )
    client.authorization = ("Bearer", TOKEN)
    assert client.get("/", status=403).json["detail"] == "This needs the role 'editor'."


@pytest.mark.parametrize("role", ["", True, ["editor"], ("editor",)])
def test_role_that_is_no_text_is_rejected(role: Any) -> None:
    problems = startup_errors(("GET", "/", lambda: 1, {"public": False, "role": role}))
    assert problems == f"GET /: has the role {role!r}, which is not a text"


@pytest.mark.parametrize(
    ("options", "roles_of", "advice"),
    [
        ({"public": True}, dict, "remove it, or the option `public`"),
        ({"public": False, "admin": True}, dict, "remove it, or the option `admin`"),
        ({"public": False}, None, "pass `roles_of` to build_application in app.py"),
    ],
)
def test_role_that_is_never_asked_for_is_rejected(
    options: dict[str, bool], roles_of: Any, advice: str
) -> None:
    settings = {"roles_of": roles_of} if roles_of else {}
    problems = startup_errors(("GET", "/", lambda: 1, {**options, "role": "editor"}), **settings)
    assert problems == f"GET /: has the option `role`; {advice}"


class Closable:
    """A dependency with a method `close`."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_dependencies_are_closed_with_the_application() -> None:
    closable = Closable()
    app = build_app(dependencies={"first": Closable(), "client": closable, "clock": lambda: 0})
    app.close()
    assert closable.is_closed


def test_dependency_that_cannot_be_closed_keeps_no_other_one_open() -> None:
    class Broken:
        def close(self) -> None:
            raise OSError("broken")

    first, last = Closable(), Closable()
    app = build_app(dependencies={"first": first, "broken": Broken(), "last": last})
    with pytest.raises(OSError, match="broken"):
        app.close()
    assert first.is_closed
    assert last.is_closed

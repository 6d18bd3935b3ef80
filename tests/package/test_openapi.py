"""OpenAPI: the document describes each route, and /docs shows it."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import pytest
from bottle import Bottle, HTTPResponse
from msgspec import Meta, Struct
from webtest import TestApp

from bottle_service.application import build_application
from bottle_service.http.problems import ProblemDetails
from bottle_service.http.routing import ServiceBottle
from bottle_service.openapi.document import Operation
from bottle_service.openapi.examples import NO_EXAMPLE, example_of
from bottle_service.startup import StartupError

from ..support import every_kind
from .sample.app import DIRECTORY
from .sample.settings import Settings
from .tokens import ADMIN_TOKEN, TOKEN

LIMIT = 50_000


def build(
    environ: dict[str, str],
    add_routes: Callable[[Bottle], None] = every_kind.add_routes,
    **options: Any,
) -> ServiceBottle:
    """Return an application with these routes."""
    return build_application(
        "sample-service", DIRECTORY, Settings.load({**environ, "MAX_BODY_BYTES": f"{LIMIT}"}), add_routes,
        variables={"service": "Sample", "description": "A service of the tests"},
        dependencies=every_kind.DEPENDENCIES, **options,
    )  # fmt: skip


@pytest.fixture
def app(environ: dict[str, str]) -> ServiceBottle:
    return build(environ)


@pytest.fixture
def document(app: ServiceBottle) -> dict[str, Any]:
    return TestApp(app).get("/openapi.json").json  # type: ignore[no-any-return]


def served(environ: dict[str, str], *routes: tuple[Any, ...]) -> dict[str, Any]:
    """Return the document of a service with these routes: rule, method, handler and options."""

    def add_routes(app: Bottle) -> None:
        app.route("/openapi.json", "GET", every_kind.document, public=True)
        for rule, method, handler, options in routes:
            app.route(rule, method, handler, **options)

    return TestApp(build(environ, add_routes)).get("/openapi.json").json  # type: ignore[no-any-return]


def problems(environ: dict[str, str], *routes: tuple[Any, ...]) -> list[str]:
    """Return the problems of a document that cannot be made."""
    with pytest.raises(StartupError) as caught:
        served(environ, *routes)
    return [str(problem) for problem in caught.value.problems]


def operation(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the operation of `METHOD /path`."""
    method, path = name.split()
    return document["paths"][path][method.lower()]  # type: ignore[no-any-return]


# The document against the routes


def test_each_route_has_one_operation_for_each_method(
    app: ServiceBottle, document: dict[str, Any]
) -> None:
    described = sorted(
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    )
    expected = []
    for route in app.routes:
        path = re.sub(r"<(\w+)[^>]*>", r"{\1}", route.rule).replace("{other}", "{item_id}")
        methods = (
            ("GET", "PUT", "POST", "DELETE", "PATCH") if route.method == "ANY" else [route.method]
        )
        if not path.endswith("/"):  # it redirects to the path without its slash
            expected += [f"{method} {path}" for method in methods]
    assert described == sorted(expected)
    ids = [one["operationId"] for item in document["paths"].values() for one in item.values()]
    assert len(set(ids)) == len(ids)
    for path, item in document["paths"].items():
        for one in item.values():
            named = [it["name"] for it in one.get("parameters", []) if it["in"] == "path"]
            assert named == re.findall(r"{(\w+)}", path)


def parts_of(operation: Operation) -> tuple[str, dict[str, Any]]:
    """Return the path and the arguments of a valid request, made from examples."""
    by_filter = {"id": "1", "int": "-5", "float": "1.5", "re": "ab"}
    examples = {one["name"]: one["example"] for one in operation.parameters if "example" in one}

    def value(wildcard: re.Match[str]) -> str:
        return str(examples.get(wildcard[1]) or by_filter.get(wildcard[2], "text"))

    path = re.sub(r"<(\w+)(?::(\w+)[^>]*)?>", value, operation.route.rule)
    arguments: dict[str, Any] = {}
    if operation.is_form:
        fields = {"title": "text", "name": "text"}
        fields = {key: fields[key] for key in fields if key in operation.body.__struct_fields__}
        arguments["params"] = fields
        if "photo" in operation.body.__struct_fields__:
            arguments["upload_files"] = [("photo", "a.png", b"png")]
    elif operation.body is not None:
        arguments["params"] = json.dumps(example_of(operation.body))
        arguments["content_type"] = "application/json"
    elif operation.query_schema is not None:
        path += "?text=text"
    return path, arguments


def requests_to(operation: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a valid request, and requests that are not, each in another way."""
    path, arguments = parts_of(operation)
    yield path, arguments
    yield path, {**arguments, "headers": {"Authorization": "Bearer unknown"}}
    yield re.sub(r"^/[a-z]", "\\g<0>%ff", path), arguments
    if "<" in operation.route.rule:
        yield re.sub(r"[^/]+$", "0", path), arguments
        yield re.sub(r"[^/]+$", "none", path), arguments
    if operation.query_schema is not None:
        yield path.partition("?")[0] + "?text=%00", arguments
        yield path.partition("?")[0] + "?text=%ff", arguments
    if operation.body is not None:
        kind = arguments.get("content_type", "application/x-www-form-urlencoded")
        yield path, {**arguments, "headers": {"Content-Encoding": "gzip"}}
        yield path, {"params": "text", "content_type": "text/plain"}
        yield path, {"params": "{", "content_type": kind}
        yield path, {"params": '{"no": 1}', "content_type": kind}
        yield path, {"params": "x" * (LIMIT * 3), "content_type": kind}


@pytest.mark.parametrize("admin", [True, False], ids=["admin", "no-admin"])
def test_statuses_and_content_types_that_are_sent_are_documented(
    environ: dict[str, str], admin: bool
) -> None:
    """And those that are documented are sent; only a failure cannot be provoked here."""
    if not admin:
        del environ["ADMIN_TOKEN"]
    app = build(environ)
    client = TestApp(app, lint=False)
    shared = app.dependencies["openapi"].content()["components"]["responses"]
    for one in app.dependencies["openapi"].operations:
        documented = one.content["responses"]
        token = ADMIN_TOKEN if "admin" in one.schemes else TOKEN
        seen = set()
        for path, arguments in requests_to(one):
            headers = {"Authorization": f"Bearer {token}", **arguments.pop("headers", {})}
            if "upload_files" in arguments:
                response = client.post(path, headers=headers, status="*", **arguments)
            else:
                body = arguments.get("params", "")
                if isinstance(body, dict):
                    body = "&".join(f"{key}={quote(value)}" for key, value in body.items())
                    arguments["content_type"] = "application/x-www-form-urlencoded"
                headers |= {"Content-Type": arguments.get("content_type", "")} if body else {}
                response = client.request(
                    path, method=one.method, headers=headers, body=body.encode(), status="*"
                )
            status = str(response.status_int)
            seen.add(status)
            assert status in documented or "default" in documented, (one.id, path, response.text)
            described = documented.get(status, documented.get("default", {}))
            described = shared.get(described.get("$ref", "").rpartition("/")[2], described)
            kinds = described.get("content", {})
            assert response.content_type in kinds or "*/*" in kinds or not response.body
            for name, header in described.get("headers", {}).items():
                assert name in response.headers or not header.get("required"), (one.id, name)
            if status == "401":
                assert response.headers["WWW-Authenticate"] == "Bearer"
        if admin or "admin" not in one.schemes:
            rare = {"404", "409", "412", "500", "503", "default"}
            assert {*documented} - seen <= rare, one.id
        else:
            assert seen == {"400", "404"}


def test_session_is_another_scheme_and_adds_403(environ: dict[str, str]) -> None:
    def add_routes(app: Bottle) -> None:
        app.route("/openapi.json", "GET", every_kind.document, public=True)
        app.route("/contacts", "POST", every_kind.add_contact)
        app.route("/free", "GET", every_kind.free)

    app = build(environ, add_routes, authenticate_session=lambda _environ: "someone")
    document = TestApp(app).get("/openapi.json").json
    contacts, free = operation(document, "POST /contacts"), operation(document, "GET /free")
    assert contacts["security"] == free["security"] == [{"token": []}, {"session": []}]
    assert ("403" in contacts["responses"], "403" in free["responses"]) == (True, False)


def test_role_is_described(environ: dict[str, str]) -> None:
    def add_routes(app: Bottle) -> None:
        app.route("/openapi.json", "GET", every_kind.document, public=True)
        app.route("/docs", "GET", every_kind.docs, public=True)
        app.route("/free", "GET", every_kind.free, role="editor")

    client = TestApp(build(environ, add_routes, roles_of=lambda _name: {"editor"}))
    free = operation(client.get("/openapi.json").json, "GET /free")
    assert free["security"] == [{"token": ["editor"]}]
    assert "403" in free["responses"]
    assert "Requires a token and the role editor." in client.get("/docs").text


def test_content_type_and_further_successes_are_described(environ: dict[str, str]) -> None:
    options = {"consumes": "text/csv", "etag": "1", "responses": {201: "It is new."}}
    document = served(environ, ("/files", "POST", every_kind.receive, options))
    described = operation(document, "POST /files")
    assert described["requestBody"]["content"] == {"text/csv": {}}
    assert described["responses"]["201"] == {
        **described["responses"]["200"], "description": "It is new.",
    }  # fmt: skip


# Parameters, bodies and results


def test_wildcards_are_described(document: dict[str, Any]) -> None:
    schemas = {
        path: item[method]["parameters"][0]["schema"]
        for path, item in document["paths"].items()
        for method in item
        if "{" in path
    }
    assert schemas["/api/v1/items/{item_id}"]["maximum"] == 10**18 - 1
    assert schemas["/api/v1/things/{number}"]["minimum"] == -(2**63)
    assert schemas["/api/v1/ratios/{ratio}"] == {"type": "number"}
    assert schemas["/api/v1/codes/{code}"]["pattern"] == "^(?:[a-z]{2})$"
    for path, slashes in (("/api/v1/names/{name}", False), ("/api/v1/paths/{path}", True)):
        match = re.compile(schemas[path]["pattern"]).search
        assert match("é x")
        assert not match("a\nb")
        assert bool(match("a/b")) == slashes


def test_wildcards_have_the_schemas_of_their_types(document: dict[str, Any]) -> None:
    described = operation(document, "GET /api/v1/types/{day}/{uid}/{colour}/{size}")["parameters"]
    assert described[0]["example"] == "2026-12-31"
    assert described[3]["description"] == "A digit."
    assert {parameter["name"]: parameter["schema"] for parameter in described} == {
        "day": {"type": "string", "format": "date"},
        "uid": {"type": "string", "format": "uuid"},
        "colour": {"$ref": "#/components/schemas/Colour"},
        "size": {"type": "integer", "minimum": 1, "maximum": 9, "format": "int64"},
    }


def test_filter_and_type_are_described_together(environ: dict[str, str]) -> None:
    def show(value: Annotated[int, Meta(le=10)]) -> int:
        return value

    rules = ("/ids/<value:id>", "/years/<value:re:[0-9]{4}>")
    document = served(environ, *((rule, "GET", show, {}) for rule in rules))
    ids, years = (
        operation(document, f"GET {path}/{{value}}")["parameters"][0] for path in ("/ids", "/years")
    )
    assert (ids["schema"]["minimum"], ids["schema"]["maximum"]) == (1, 10)
    assert years["schema"] == {"type": "string", "pattern": "^(?:[0-9]{4})$"}


def test_query_is_described_by_its_fields(document: dict[str, Any]) -> None:
    parameters = {
        one["name"]: one for one in operation(document, "GET /api/v1/search")["parameters"]
    }
    assert [name for name, one in parameters.items() if one.get("required")] == ["text"]
    assert parameters["code"]["description"] == "Three letters."
    assert parameters["limit"]["schema"] == {
        "type": "integer", "format": "int64", "minimum": 1, "maximum": 100, "default": 20,
    }  # fmt: skip
    assert parameters["count"]["schema"]["maximum"] == 2**63 - 1
    assert parameters["text"]["schema"]["pattern"] == r"^[^\x00]*$"
    assert parameters["tags"]["schema"]["items"]["pattern"] == r"^[^\x00]*$"
    assert parameters["moment"]["schema"]["anyOf"][0]["format"] == "date-time"
    assert "Search" in document["components"]["schemas"], "the result has this type, too"
    (free,) = operation(document, "GET /api/v1/free")["parameters"]
    assert (free["style"], free["schema"]["type"]) == ("form", "object")


def test_body_is_described_with_the_limits_of_the_service(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["Everything"]
    assert schema["description"].splitlines()[-1] == "The second paragraph."
    assert schema["additionalProperties"] is False
    fields = schema["properties"]
    assert fields["shortText"] == {
        "type": "string", "minLength": 2, "maxLength": 5, "pattern": r"^[^\x00]*$",
    }  # fmt: skip
    assert fields["moment"]["format"] == "date-time"
    local = document["components"]["schemas"]["Local"]["properties"]
    assert local["moment"]["format"] == "date-time-local"
    assert fields["maximum"]["exclusiveMaximum"] == 100
    assert (fields["maximum"]["minimum"], "maximum" in fields["maximum"]) == (-(2**63), False)
    assert fields["byName"]["additionalProperties"]["maximum"] == 2**63 - 1
    assert fields["byName"]["propertyNames"] == {"pattern": r"^[^\x00]*$"}
    assert fields["pair"]["prefixItems"][1]["maximum"] == 2**63 - 1
    assert {one.get("type") for one in fields["anyTextOrNumber"]["anyOf"]} == {"string", "integer"}
    assert all(
        len(one) == 3 or "pattern" in one or "format" in one
        for one in fields["anyTextOrNumber"]["anyOf"]
    )
    point = document["components"]["schemas"]["Point"]
    assert point["prefixItems"][0]["format"] == "int64"


def test_types_of_results_have_no_limits_of_requests(environ: dict[str, str]) -> None:
    class Result(Struct):
        text: str
        number: int

    def show() -> Result:
        return Result("", 1)

    document = served(environ, ("/result", "GET", show, {}))
    assert document["components"]["schemas"]["Result"]["properties"] == {
        "text": {"type": "string"},
        "number": {"type": "integer", "format": "int64"},
    }


def test_forms_are_described_as_html_sends_them(document: dict[str, Any]) -> None:
    photos = operation(document, "POST /api/v1/photos")["requestBody"]["content"]
    assert [*photos] == ["multipart/form-data"]
    schema = photos["multipart/form-data"]["schema"]
    schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert schema["properties"]["photo"]["contentMediaType"] == "application/octet-stream"
    contacts = operation(document, "POST /api/v1/contacts")["requestBody"]["content"]
    assert [*contacts] == ["multipart/form-data", "application/x-www-form-urlencoded"]
    # A browser sends nothing for a box that is not checked.
    assert contacts["multipart/form-data"]["schema"]["required"] == ["name"]
    assert "422" not in operation(document, "POST /api/v1/forms")["responses"]


def test_type_of_a_parameter_adds_to_its_operation(document: dict[str, Any]) -> None:
    loans = operation(document, "POST /api/v1/loans")
    assert [one["name"] for one in loans["parameters"]] == ["If-Match"]
    assert loans["responses"]["412"]["description"] == "The ETag differs."
    assert "ETag" in loans["responses"]["200"]["headers"]


def test_options_describe_the_operation(document: dict[str, Any]) -> None:
    names = operation(document, "GET /api/v1/names/{name}")
    assert (names["summary"], names["tags"]) == ("By name", ["names", "other"])
    assert operation(document, "GET /api/v1/codes/{code}")["deprecated"] is True
    lent = operation(document, "POST /api/v1/loans")["responses"]["409"]
    assert lent["description"] == "It is lent already."
    assert [*lent["content"]] == ["application/problem+json"]
    assert document["info"] == {
        "title": "Sample", "description": "A service of the tests", "version": "2",
    }  # fmt: skip


def test_docstring_and_name_of_the_handler_describe_the_operation(document: dict[str, Any]) -> None:
    assert operation(document, "GET /api/v1/search")["summary"] == "Search: a query of every type"
    assert operation(document, "POST /api/v1/photos")["summary"] == "Add photo"


def test_schema_of_problems_is_that_of_the_responses(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["ProblemDetails"]
    assert [*schema["properties"]] == [*ProblemDetails.__struct_fields__]


# Problems


def test_two_types_of_one_name_are_a_problem(environ: dict[str, str]) -> None:
    class Contact(Struct):
        email: str

    def show() -> Contact:
        return Contact("")

    (problem,) = problems(
        environ, ("/a", "POST", every_kind.add_contact, {}), ("/b", "GET", show, {})
    )
    name = f"{__name__}.{show.__qualname__.removesuffix('show')}Contact"
    other = f"{every_kind.__name__}.Contact"
    assert problem == f"{name}: has the same name as {other} in openapi.json; rename one"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"summary": 5}, "$.summary"),
        ({"tags": "notes"}, "$.tags"),
        ({"deprecated": "yes"}, "$.deprecated"),
        ({"responses": {1000: "No such status."}}, "$.responses"),
        ({"responses": {409: ""}}, "$.responses"),
    ],
)
def test_invalid_option_is_a_problem(
    environ: dict[str, str], options: dict[str, Any], words: str
) -> None:
    (problem,) = problems(environ, ("/free", "GET", every_kind.free, options))
    assert problem.startswith("GET /free: has an invalid option: Expected")
    assert words in problem


def test_two_routes_of_one_path_are_a_problem(environ: dict[str, str]) -> None:
    (problem,) = problems(
        environ,
        ("/x/<item_id:id>", "GET", every_kind.by_id, {}),
        ("/x/<name>", "GET", every_kind.by_name, {}),
    )
    assert problem == (
        "GET /x/<name>: has the same path as GET /x/<item_id:id> in openapi.json; change a path"
    )


def test_problem_needs_a_route_of_the_document(environ: dict[str, str]) -> None:
    """A service that does not serve the document starts; only the command fails."""

    def add_routes(app: Bottle) -> None:
        app.route("/free", "GET", every_kind.free, summary=5)

    app = build(environ, add_routes)
    assert TestApp(app).get("/free", status=401)
    with pytest.raises(StartupError):
        app.dependencies["openapi"].content()


def test_type_that_json_schema_lacks_is_described_by_its_name(environ: dict[str, str]) -> None:
    class Own:
        pass

    def show() -> Own:
        return Own()

    document = served(environ, ("/own", "GET", show, {}))
    content = operation(document, "GET /own")["responses"]["200"]["content"]
    assert content == {"application/json": {"schema": {"title": "Own"}}}


# Responses


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_document_and_page_are_sent_once(app: ServiceBottle, path: str) -> None:
    client = TestApp(app)
    first = client.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]}, status=304)
    assert (again.body, again.headers["ETag"]) == (b"", first.headers["ETag"])
    assert client.get(path, headers={"If-None-Match": '"other"'}).body == first.body


def test_prefix_is_in_the_document_and_the_page(environ: dict[str, str]) -> None:
    client = TestApp(build(environ, url_prefix="/app"))
    assert client.get("/app/openapi.json").json["servers"] == [{"url": "/app"}]
    page = client.get("/app/docs")
    assert page.html.find("a")["href"] == "/app/openapi.json"
    assert "URL=https://HOST/app\n" in page.text


# The page


def test_page_has_each_operation_and_no_script(
    app: ServiceBottle, document: dict[str, Any]
) -> None:
    page = TestApp(app).get("/docs")
    shown = [one["id"] for one in page.html.find_all("details")]
    ids = [one["operationId"] for item in document["paths"].values() for one in item.values()]
    assert sorted(shown) == sorted(ids)
    assert page.html.find("script") is None
    assert "style-src 'sha256-" in page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    code = page.html.find(id=next(name for name in ids if name.endswith("by_code")))
    assert "deprecated" in code.find("summary").text


def test_commands_of_the_page_succeed(app: ServiceBottle) -> None:
    """Each command is sent to the application as curl would send it."""
    client = TestApp(app)
    commands = [one.text for one in client.get("/docs").html.find_all("pre", class_="copy")]
    assert len(commands) > 20
    for command in commands:
        words = shlex.split(
            command.replace("$URL", "")
            .replace("$TOKEN", TOKEN)
            .replace("$ADMIN_TOKEN", ADMIN_TOKEN)
        )
        method, headers, body, fields = "GET", {}, b"", {}
        arguments = iter(words[1:-1])
        for option in arguments:
            value = next(arguments)
            if option == "-X":
                method = value
            elif option == "-H":
                name, _, text = value.partition(": ")
                headers[name] = text
            elif option == "-d":
                body = value.encode()
            else:
                name, _, text = value.partition("=")
                fields[name] = text
        if fields:
            files = [(name, "a.png", b"png") for name, text in fields.items() if text == "@FILE"]
            texts = {name: text for name, text in fields.items() if text != "@FILE"}
            kind, body = client.encode_multipart([*texts.items()], files)
            headers["Content-Type"] = kind
        response = client.request(words[-1], method=method, headers=headers, body=body, status="*")
        assert response.status_int < 300, (command, response.text)


# Examples


class Numbers(Struct):
    low: Annotated[int, Meta(ge=10)]
    high: Annotated[int, Meta(lt=-10)]
    step: Annotated[int, Meta(ge=7, le=13, multiple_of=6)]
    ratio: Annotated[float, Meta(gt=2, lt=3)]
    percent: Annotated[float, Meta(ge=0, le=0.5)]
    long: Annotated[str, Meta(min_length=30)]
    short: Annotated[str, Meta(max_length=2)]
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    address: Annotated[str, Meta(pattern="^[^@]+@[^@]+$")]
    given: Annotated[str, Meta(pattern="^ID-[0-9]{9}$", examples=["ID-123456789"])]
    several: Annotated[list[int], Meta(min_length=3)]
    content: Annotated[bytes, Meta(min_length=9)]


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    "kind",
    [
        Numbers, every_kind.Search, every_kind.Everything, every_kind.Tree, every_kind.Contact,
        list[every_kind.Circle | every_kind.Square], dict[str, list[int]], ProblemDetails, Any,
    ],
    ids=str,
)  # fmt: skip
def test_example_is_a_value_of_its_type(kind: Any, complete: bool) -> None:
    example = example_of(kind, complete=complete)
    assert example is not NO_EXAMPLE
    msgspec.json.decode(json.dumps(example), type=kind)


def test_text_with_an_unusual_pattern_has_no_example() -> None:
    assert example_of(Annotated[str, Meta(pattern="^ID-[0-9]{9}$")]) is NO_EXAMPLE


def test_operation_without_an_example_has_no_command(environ: dict[str, str]) -> None:
    class Unusual(Struct):
        code: Annotated[str, Meta(pattern="^ID-[0-9]{9}$")]

    def create(body: Unusual) -> HTTPResponse:
        return HTTPResponse()

    def add_routes(app: Bottle) -> None:
        app.route("/docs", "GET", every_kind.docs, public=True)
        app.route("/unusual", "POST", create, public=True)

    page = TestApp(build(environ, add_routes)).get("/docs")
    assert [one.text for one in page.html.find_all("pre", class_="copy")] == ['curl "$URL"/docs']

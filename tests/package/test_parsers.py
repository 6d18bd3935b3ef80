"""Parsers: JSON bodies, queries and forms become the type that a handler declares."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import pytest
from msgspec import UNSET, Meta, Struct, UnsetType
from webtest import TestApp
from webtest import Upload as SentFile

from bottle_service.http import Upload

from .apps import client_for

MULTIPART = "multipart/form-data; boundary=b"
URLENCODED = "application/x-www-form-urlencoded"


class Item(Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    count: int = 1


class Search(Struct, forbid_unknown_fields=True, omit_defaults=True):
    q: str = ""
    tags: list[str] = []
    limit: int = 20
    ids: list[int] | None = None
    names: Annotated[list[str] | None, Meta(description="documented")] = None


class Form(Struct, forbid_unknown_fields=True):
    name: str
    count: int = 1
    photo: Upload | None = None
    tags: list[str] = []


def echo_item(body: Item) -> Item:
    return body


def echo_search(query: Search) -> Search:
    return query


def read_bytes(body: bytes) -> str:
    return body.hex()


# JSON, and any other content


@pytest.mark.parametrize("content_type", ["", "text/csv", "application/json", URLENCODED])
def test_body_of_bytes_is_read_as_it_is(content_type: str) -> None:
    client = client_for(("POST", "/", read_bytes))
    for body in (b"", b'{"a" : 1}\r\n', bytes(range(256)) * 400):
        assert client.post("/", body, content_type=content_type).json == body.hex()


def test_content_type_of_a_body_of_bytes_is_checked() -> None:
    client = client_for(("POST", "/", read_bytes, {"consumes": "text/csv"}))
    for content_type in ("text/csv", "Text/CSV; charset=utf-8"):
        assert client.post("/", b"a,b", content_type=content_type).json == b"a,b".hex()
    for content_type in ("", "text/plain", "application/json"):
        problem = client.post("/", b"a,b", content_type=content_type, status=415)
        assert problem.json["detail"] == "The body must be text/csv."


@pytest.fixture
def items() -> TestApp:
    return client_for(("POST", "/", echo_item))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/merge-patch+json",
    ],
)
def test_json_body_is_read(items: TestApp, content_type: str) -> None:
    response = items.post("/", b'{"name": "x"}', content_type=content_type)
    assert response.json == {"name": "x", "count": 1}


@pytest.mark.parametrize(
    "content_type", ["text/plain", URLENCODED, "application/jsonl", "text/x+json"]
)
def test_json_of_another_content_type_is_415(items: TestApp, content_type: str) -> None:
    items.post("/", b'{"name": "x"}', content_type=content_type, status=415)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 50_000, b'"\\ud800"', b'{"name": 3, "x": "\xff"}'],
)
def test_malformed_json_is_400(items: TestApp, body: bytes) -> None:
    response = items.post("/", body, content_type="application/json", status=400)
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1"])
def test_json_that_is_not_an_object_is_422(items: TestApp, body: bytes) -> None:
    items.post("/", body, content_type="application/json", status=422)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "x" * 201}, ["/name"]),
        ({"name": 1, "count": "2"}, ["/name", "/count"]),
        ({"name": "x", "colour/~": "red"}, ["/colour~1~0"]),
    ],
)
def test_each_invalid_field_is_reported(
    items: TestApp, body: dict[str, Any], pointers: list[str]
) -> None:
    response = items.post_json("/", body, status=422)
    assert [error["pointer"] for error in response.json["errors"]] == pointers


def test_valid_fields_are_not_reported() -> None:
    class Counts(Struct):
        counts: dict[int, int]
        name: str

    def handler(body: Counts) -> Counts:
        return body

    client = client_for(("POST", "/", handler))
    assert client.post_json("/", {"counts": {"1": 2}, "name": "x"}).json["counts"] == {"1": 2}
    problem = client.post_json("/", {"counts": {"1": 2}, "name": 3}, status=422).json
    assert [error["pointer"] for error in problem["errors"]] == ["/name"]
    problem = client.post_json("/", {"counts": {"a": 2}, "name": "x"}, status=422).json
    assert [error["pointer"] for error in problem["errors"]] == ["/counts"]


class Tree(Struct):
    value: int = 0
    children: dict[str, "Tree"] = {}


class Tagged(Struct, tag=True, forbid_unknown_fields=True):
    number: int
    other: int = 0


class Whole(Struct):
    number: int | None = None
    ratio: float = 0.0
    price: Decimal | None = None
    anything: Any = None
    at: datetime | None = None
    local: Annotated[datetime, Meta(tz=False)] | None = None
    times: dict[str, list[datetime]] = {}
    pair: tuple[int, datetime] | None = None


def parse(kind: Any, body: bytes) -> Any:
    """Return what the handler gets for a JSON body, or the pointers of the problem."""
    received: list[Any] = []

    def handler(body: Any) -> int:
        received.append(body)
        return 1

    handler.__annotations__["body"] = kind
    client = client_for(("POST", "/", handler))
    response = client.post("/", body, content_type="application/json", expect_errors=True)
    if response.status_int == 422:
        return [error["pointer"] for error in response.json["errors"]]
    assert response.status_int == 200
    return received[0]


@pytest.mark.parametrize(
    ("kind", "body", "pointers"),
    [
        (Annotated[list[int], Meta(max_length=2)], b"[1, 2, 3]", [""]),
        (dict[str, Annotated[int, Meta(ge=0)]], b'{"a": 1, "b": -1}', ["/b"]),
        (list[Annotated[str, Meta(max_length=1)]], b'["a", "bb", "cc"]', ["/1", "/2"]),
    ],
)
def test_limits_of_annotated_parts_are_checked(kind: Any, body: bytes, pointers: Any) -> None:
    assert parse(kind, body) == pointers


@pytest.mark.parametrize(
    ("kind", "body", "pointers"),
    [
        (dict[str, dict[str, int]], b'{"a/b": {"~": 1, "c": "x", "d": null}}', ["/a~1b/c", "/a~1b/d"]),
        (dict[str, list[int]], b'{"a": [1, "x"]}', ["/a/1"]),
        (dict[str, Item] | None, b'{"a": {"name": 1, "count": "x"}}', ["/a/name", "/a/count"]),
        (dict[int, int], b'{"a": 1}', [""]),
        (dict[str, int | dict[str, int]], b'{"a": {"b": "c"}}', ["/a"]),
        (list[Item], b'[{"name": "a"}, {"nam/e": "a"}]', ["/1/name", "/1/nam~1e"]),
        (tuple[int, str], b'[1, 2]', ["/1"]),
        (Tree, b'{"children": {"a": {"children": {"b": {"value": "x"}}}}}', ["/children/a/children/b/value"]),
        (Tagged, b'{"type": "Tagged", "number": "x"}', ["/number"]),
        (Tagged, b'{"type": "Other", "number": "x", "a": 1}', ["/number", "/type", "/a"]),
        (Tagged | None, b'{"type": "Tagged", "number": "x"}', ["/number"]),
        (dict[str, Whole], b'{"a": {"number": 9223372036854775808}}', ["/a/number"]),
    ],
)  # fmt: skip
def test_pointer_names_each_invalid_value(kind: Any, body: bytes, pointers: list[str]) -> None:
    assert parse(kind, body) == pointers


def test_error_that_is_not_found_again_is_reported() -> None:
    """A class may raise an error once, such as for the state of something else."""
    errors = iter([ValueError("odd")])

    class Odd(Struct):
        number: int

        def __post_init__(self) -> None:
            for error in errors:
                raise error

    assert parse(list[Odd], b'[{"number": 1}]') == ["/0"]


def test_deep_value_is_reported_at_a_value_that_contains_it() -> None:
    body: Any = {"value": "x"}
    for _ in range(40):
        body = {"children": {"a": body}}
    (pointer,) = parse(Tree, json.dumps(body).encode())
    assert re.fullmatch("(/children/a)+(/children)?", pointer)


def test_number_of_errors_is_limited() -> None:
    assert len(parse(list[int], json.dumps(["x"] * 1000).encode())) == 100


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b'{"number": 9223372036854775808}', ["/number"]),
        (b'{"number": -9223372036854775809, "at": "x"}', ["/number", "/at"]),
        (b'{"price": "NaN"}', ["/price"]),
        (b'{"anything": [{"a": 99999999999999999999}]}', ["/anything"]),
        (b'{"ratio": 1e400}', ["/ratio"]),
        (b'{"number": ' + b"9" * 5000 + b"}", ["/number"]),
        (b'{"at": "2026-01-01T00:00:00"}', ["/at"]),
        (b'{"at": "0001-01-01T00:00:00+14:00"}', ["/at"]),
        (b'{"at": "9999-12-31T23:59:59-14:00"}', ["/at"]),
        (b'{"times": {"a": ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00"]}}', ["/times/a/1"]),
        (b'{"anything": "\\u0000"}', ["/anything"]),
        (b'{"anything": {"a": ["b", "\\u0000"], "\\u0000": 1}}', ["/anything/a/1", "/anything/\0"]),
    ],
)  # fmt: skip
def test_value_that_no_database_stores_is_422(body: bytes, pointers: list[str]) -> None:
    assert parse(Whole, body) == pointers


def test_values_within_the_limits_are_kept() -> None:
    assert parse(Whole, b'{"number": 9223372036854775807}').number == 2**63 - 1
    assert parse(Whole, b'{"anything": [-9223372036854775808]}').anything == [-(2**63)]
    assert parse(Whole, b'{"anything": "\\\\u0000"}').anything == "\\u0000"
    local = "2026-01-01T00:00:00"
    assert parse(Whole, b'{"local": "%b"}' % local.encode()).local.isoformat() == local


def test_times_of_a_body_are_utc() -> None:
    time = b'"2026-01-01T01:00:00+01:00"'
    utc = datetime(2026, 1, 1, tzinfo=UTC)
    whole = parse(Whole, b'{"at": %b, "times": {"a": [%b]}, "pair": [1, %b]}' % (time, time, time))
    assert (whole.at, whole.times, whole.pair) == (utc, {"a": [utc]}, (1, utc))
    assert {whole.at.tzinfo, whole.times["a"][0].tzinfo, whole.pair[1].tzinfo} == {UTC}


class Change(Struct, forbid_unknown_fields=True):
    due: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET


@pytest.mark.parametrize(
    ("body", "read"), [({}, "UNSET"), ({"due": None}, "None"), ({"due": 3}, "3")]
)
def test_field_that_is_absent_is_unset(body: object, read: str) -> None:
    def change(body: Change) -> str:
        return repr(body.due)

    client = client_for(("PATCH", "/", change))
    assert client.patch_json("/", body).json == read
    problem = client.patch_json("/", {"due": 0}, status=422).json
    assert [error["pointer"] for error in problem["errors"]] == ["/due"]


class Frozen(Struct, frozen=True):
    at: datetime


@dataclass(frozen=True)
class Data:
    at: datetime


class Named(NamedTuple):
    at: datetime


@pytest.mark.parametrize("kind", [Frozen, Data, Named])
def test_times_of_every_class_are_utc(kind: Any) -> None:
    sent = "2026-01-01T01:00:00+01:00"
    body = [sent] if kind is Named else {"at": sent}
    assert parse(kind, json.dumps(body).encode()).at.tzinfo is UTC


@pytest.mark.parametrize("path", ["/json", "/form", "/bytes"])
@pytest.mark.parametrize(
    ("coding", "status"),
    [("gzip", 415), ("br, identity", 415), ("identity", 200), ("Identity", 200)],
)
def test_encoded_body_is_415(path: str, coding: str, status: int) -> None:
    def read_form(form: Form) -> str:
        return form.name

    client = client_for(
        ("POST", "/json", echo_item), ("POST", "/form", read_form), ("POST", "/bytes", read_bytes)
    )
    content_type, body = {
        "/json": ("application/json", b'{"name": "x"}'),
        "/form": (URLENCODED, b"name=x"),
        "/bytes": ("text/csv", b"x"),
    }[path]
    headers = {"Content-Encoding": coding, "Content-Type": content_type}
    response = client.post(path, body, headers=headers, status=status)
    if status == 415:
        assert response.headers["Accept-Encoding"] == "identity"
        assert response.content_type == "application/problem+json"


# Queries


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("", {}),
        ("q=caf%C3%A9+x&limit=3", {"q": "café x", "limit": 3}),
        ("tags=a&tags=b", {"tags": ["a", "b"]}),
        ("tags=", {"tags": [""]}),
        ("ids=3", {"ids": [3]}),
        ("ids=3&ids=4", {"ids": [3, 4]}),
        ("names=a", {"names": ["a"]}),
    ],
)
def test_query_is_read(query: str, values: dict[str, Any]) -> None:
    assert client_for(("GET", "/", echo_search)).get(f"/?{query}").json == values


@pytest.mark.parametrize(
    ("query", "status"),
    [("q=a&q=b", 422), ("limit=many", 422), ("other=1", 422), ("q=%ff", 400), ("q=1&" * 200, 400)],
)
def test_invalid_query_is_rejected(query: str, status: int) -> None:
    client_for(("GET", "/", echo_search)).get(f"/?{query}", status=status)


@pytest.mark.parametrize(
    ("query", "pointer"), [("limit=1&limit=2", "/limit"), ("a~/=1&a~/=2", "/a~0~1")]
)
def test_duplicate_fields_are_reported(query: str, pointer: str) -> None:
    problem = client_for(("GET", "/", echo_search)).get(f"/?{query}", status=422).json
    assert problem["errors"] == [{"pointer": pointer, "message": "is given more than once"}]


# Forms


class Forms:
    """A handler of forms, and the uploaded files that it was given."""

    def __init__(self) -> None:
        self.files: list[Any] = []
        self.client = client_for(("POST", "/", self.create))

    def create(self, form: Form) -> dict[str, Any]:
        content = None
        if form.photo:
            self.files.append(form.photo.file)
            content = form.photo.file.read().decode()
        return {"name": form.name, "count": form.count, "tags": form.tags, "photo": content}


@pytest.fixture
def forms() -> Forms:
    return Forms()


def test_form_is_read_and_its_files_are_closed(forms: Forms) -> None:
    sent = [("name", "Zoë"), ("count", "3"), ("tags", "a"), ("tags", "b")]
    values = {"name": "Zoë", "count": 3, "tags": ["a", "b"], "photo": None}
    assert forms.client.post("/", sent).json == values
    upload = ("photo", SentFile("a.txt", b"content", "text/plain"))
    response = forms.client.post("/", [*sent, upload], content_type="multipart/form-data")
    assert response.json["photo"] == "content"
    assert forms.files[-1].closed


@pytest.mark.parametrize("content_type", ["multipart/form-data", URLENCODED])
def test_form_text_may_be_as_large_as_the_body_limit(content_type: str) -> None:
    """`multipart` returns a text above 64 KiB as a file, and rejects other texts above 8 MiB."""
    received: list[Form] = []

    def handler(form: Form) -> int:
        received.append(form)
        return 1

    client = client_for(("POST", "/", handler), max_body_bytes=2**24)
    for size in (2**16 + 1, 2**23 + 1):
        client.post("/", [("name", "x" * size), ("tags", "y" * 2**17)], content_type=content_type)
        assert (len(received[-1].name), len(received[-1].tags[0])) == (size, 2**17)


def part(name: str) -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\nx\r\n'.encode()


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"name=x", 415),
        ("application/json", b"{}", 415),
        (URLENCODED, b"count=3", 422),
        (URLENCODED, b"name=a&name=b", 422),
        (URLENCODED, b"name=\xff", 400),
        (URLENCODED, b"a=1&" * 200, 400),
        (f"{URLENCODED}; charset=nonsense", b"name=a", 400),
        (f"{URLENCODED}; charset=hex", b"name=x", 400),
        (f"{URLENCODED}; charset=utf-7", b"name=+2AA-", 400),
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
        (MULTIPART, part("name") + b"".join(part(f"x{i}") for i in range(100)) + b"--b--\r\n", 400),
        (
            MULTIPART,
            b"--b\r\nContent-Disposition: form-data; name=name\r\n"
            b"Content-Type: text/plain; charset=nonsense\r\n\r\nx\r\n--b--\r\n",
            400,
        ),
    ],
)
def test_malformed_form_is_rejected(
    forms: Forms, content_type: str, body: bytes, status: int
) -> None:
    headers = {"Content-Type": content_type}
    response = forms.client.request(
        "/", method="POST", body=body, headers=headers, expect_errors=True
    )
    assert response.status_int == status
    assert response.content_type == "application/problem+json"


def test_file_name_with_nul_is_422(forms: Forms) -> None:
    """A database cannot store it."""
    disposition = b'Content-Disposition: form-data; name="photo"; filename="a\0.png"'
    body = part("name") + b"--b\r\n" + disposition + b"\r\n\r\nx\r\n--b--\r\n"
    response = forms.client.request(
        "/", method="POST", body=body, headers={"Content-Type": MULTIPART}, expect_errors=True
    )
    assert response.status_int == 422
    assert [error["pointer"] for error in response.json["errors"]] == ["/photo"]

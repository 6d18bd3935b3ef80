"""Parsers: JSON bodies, queries and forms become the type that a handler declares."""

from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct
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


# JSON


@pytest.fixture
def items() -> TestApp:
    return client_for(("POST", "/", echo_item))


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
)
def test_json_body_is_read(items: TestApp, content_type: str) -> None:
    response = items.post("/", b'{"name": "x"}', content_type=content_type)
    assert response.json == {"name": "x", "count": 1}


@pytest.mark.parametrize("content_type", ["text/plain", URLENCODED, "application/jsonl"])
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

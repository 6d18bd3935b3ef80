"""Queries and forms, read into the type that a handler asks for."""

from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct
from webtest import TestApp, Upload

from {{ cookiecutter.package_name }}.web import inputs

from .stack import client, public


class Form(Struct, forbid_unknown_fields=True):
    name: str
    count: int = 1
    photo: inputs.Upload | None = None
    tags: list[str] = []


class Search(Struct, forbid_unknown_fields=True, omit_defaults=True):
    q: str = ""
    tags: list[str] = []
    limit: int = 20
    ids: list[int] | None = None
    names: Annotated[list[str] | None, Meta(description="documented")] = None


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("", {}),
        ("q=caf%C3%A9+x&limit=3", {"q": "café x", "limit": 3}),
        ("tags=a&tags=b", {"tags": ["a", "b"]}),
        ("tags=", {"tags": [""]}),
        ("ids=3", {"ids": [3]}),
        ("ids=3&ids=4", {"ids": [3, 4]}),
        ("names=a", {"names": ["a"]}),
        ("q=a&q=b", 422),
        ("limit=many", 422),
        ("other=1", 422),
        ("q=%ff", 400),
        ("q=1&" * 200, 400),
    ],
)
def test_queries(query: str, read: int | dict[str, Any]) -> None:
    def handler(query: Search) -> Search:
        return query

    app = client(lambda app: public(app, "/", handler))
    answer = app.get(f"/?{query}", expect_errors=True)
    assert (answer.status_int if isinstance(read, int) else answer.json) == read


def test_what_stands_there_twice_is_named() -> None:
    def handler(query: Search) -> Search:
        return query

    app = client(lambda app: public(app, "/", handler))
    for query, pointer in (("limit=1&limit=2", "/limit"), ("a~/=1&a~/=2", "/a~0~1")):
        problem = app.get(f"/?{query}", status=422).json
        assert problem["errors"] == [{"pointer": pointer, "message": "is given more than once"}]


def test_only_what_is_wrong_is_named() -> None:
    class Counts(Struct):
        counts: dict[int, int]
        name: str

    def handler(body: Counts) -> Counts:
        return body

    app = client(lambda app: public(app, "/", handler, "POST"))
    assert app.post_json("/", {"counts": {"1": 2}, "name": "x"}).json["counts"] == {"1": 2}
    problem = app.post_json("/", {"counts": {"1": 2}, "name": 3}, status=422).json
    assert [error["pointer"] for error in problem["errors"]] == ["/name"]
    problem = app.post_json("/", {"counts": {"a": 2}, "name": "x"}, status=422).json
    assert [error["pointer"] for error in problem["errors"]] == ["/counts"]


@pytest.fixture
def forms() -> TestApp:
    closed = []

    def handler(form: Form) -> dict[str, Any]:
        photo = form.photo
        closed.append(photo.file if photo else None)
        content = photo.file.read().decode() if photo else None
        return {"name": form.name, "count": form.count, "tags": form.tags, "photo": content}

    app = client(lambda app: public(app, "/", handler, "POST"))
    app.closed = closed
    return app


def test_forms(forms: TestApp) -> None:
    sent = [("name", "Zoë"), ("count", "3"), ("tags", "a"), ("tags", "b")]
    read = {"name": "Zoë", "count": 3, "tags": ["a", "b"], "photo": None}
    assert forms.post("/", sent).json == read
    upload = ("photo", Upload("a.txt", b"content", "text/plain"))
    answer = forms.post("/", [*sent, upload], content_type="multipart/form-data")
    assert answer.json["photo"] == "content"
    assert forms.closed[-1].closed


@pytest.mark.parametrize("sent_as", ["multipart/form-data", "application/x-www-form-urlencoded"])
def test_a_text_of_a_form_may_be_as_large_as_the_limit(sent_as: str) -> None:
    """`multipart` makes a file of one above 64 KiB, and refuses 8 MiB of others."""
    read: list[Form] = []

    def handler(form: Form) -> int:
        read.append(form)
        return 1

    app = client(lambda app: public(app, "/", handler, "POST"), max_body_bytes=2**24)
    for size in (2**16 + 1, 2**23 + 1):
        app.post("/", [("name", "x" * size), ("tags", "y" * 2**17)], content_type=sent_as)
        assert (len(read[-1].name), len(read[-1].tags[0])) == (size, 2**17)


MULTIPART = "multipart/form-data; boundary=b"


def part(name: str) -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\nx\r\n'.encode()


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
        (MULTIPART, part("name") + b"".join(part(f"x{i}") for i in range(100)) + b"--b--\r\n", 400),
        ("application/x-www-form-urlencoded; charset=hex", b"name=x", 400),
        ("application/x-www-form-urlencoded; charset=utf-7", b"name=+2AA-", 400),
        (
            MULTIPART,
            b"--b\r\nContent-Disposition: form-data; name=name\r\n"
            b"Content-Type: text/plain; charset=nonsense\r\n\r\nx\r\n--b--\r\n",
            400,
        ),
    ],
)
def test_malformed_forms(forms: TestApp, content_type: str, body: bytes, status: int) -> None:
    headers = {"Content-Type": content_type}
    answer = forms.request("/", method="POST", body=body, headers=headers, expect_errors=True)
    assert answer.status_int == status
    assert answer.content_type == "application/problem+json"

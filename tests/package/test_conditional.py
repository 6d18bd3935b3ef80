"""Conditional requests: the items of RFC 9110, section 13, and of RFC 6585, section 3."""

from contextlib import nullcontext
from typing import Any

import pytest
from msgspec import Struct
from webtest import TestApp

from bottle_service.http import IfMatch, Problem, RequestScoped
from bottle_service.http.descriptions import describe_options

from .apps import build_app, client_for, startup_errors

ETAG = {"etag": "{0.id}-{0.version}"}


class Thing(Struct):
    id: int = 5
    version: str = "v2"


def show() -> Thing:
    return Thing()


def replace(if_match: IfMatch) -> Thing:
    if_match.check(Thing())
    return Thing(version="v3")


def optional(given: IfMatch | None) -> Thing:
    if given:
        given.check(Thing())
    return Thing(version="v3")


def remove(if_match: IfMatch) -> None:
    if_match.check(Thing())


def missing(if_match: IfMatch) -> Thing:
    raise Problem(404, "There is no thing.")


@pytest.fixture(scope="module")
def client() -> TestApp:
    return client_for(
        ("GET", "/", show, ETAG),
        ("PUT", "/", replace, ETAG),
        ("DELETE", "/", remove, {"status": 204}),  # compares the tag of its address
        ("PUT", "/optional", optional, ETAG),
        ("PUT", "/missing", missing, ETAG),
    )


def test_tag_is_strong_and_of_the_present_version(client: TestApp) -> None:
    assert client.get("/").headers["ETag"] == '"5-v2"'
    assert client.head("/").headers["ETag"] == '"5-v2"'
    assert client.put("/", headers={"If-Match": "*"}).headers["ETag"] == '"5-v3"'
    assert "ETag" not in client.delete("/", headers={"If-Match": "*"}).headers


def test_characters_that_a_tag_cannot_have_are_encoded() -> None:
    odd = Thing(version='a"b\r\n\x7f\u00e9 c')
    response = client_for(("GET", "/", lambda: odd, ETAG)).get("/")
    assert response.headers["ETag"] == '"5-a%22b%0D%0A%7F%C3%A9%20c"'


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        ("*", 200),  # 13.1.1: any current representation
        ('"5-v2"', 200),
        ('"5-v1", "5-v2"', 200),
        (' , "5-v1",, \t"5-v2" ,', 200),  # 5.6.1.2: empty elements of a list
        ('"a,b", "5-v2"', 200),
        ('"5-v1"', 412),
        ('W/"5-v2"', 412),  # 13.1.1: the strong comparison
        ('"5-v1", W/"5-v2"', 412),
        ('""', 412),
        ('"*"', 412),
        ("5-v2", 400),
        ('"5-v2', 400),
        ('w/"5-v2"', 400),
        ("*, *", 400),
        ("", 400),
        (",", 400),
        ('"5 v2"', 400),
    ],
)
def test_if_match(client: TestApp, if_match: str, status: int) -> None:
    headers = {"If-Match": if_match}
    client.put("/", headers=headers, status=status)
    client.put("/optional", headers=headers, status=status)
    client.delete("/", headers=headers, status=204 if status == 200 else status)


@pytest.mark.parametrize(
    ("if_none_match", "status"),
    [
        ("*", 304),  # 13.1.2
        ('"5-v2"', 304),
        ('W/"5-v2"', 304),  # 13.1.2: the weak comparison
        ('"5-v1", W/"5-v2"', 304),
        ('"5-v1"', 200),
        ("5-v2", 200),
        ("", 200),
    ],
)
def test_if_none_match(client: TestApp, if_none_match: str, status: int) -> None:
    headers = {"If-None-Match": if_none_match}
    for response in (
        client.get("/", headers=headers, status=status),
        client.head("/", headers=headers, status=status),
    ):
        assert response.headers["ETag"] == '"5-v2"'
        assert status == 200 or not response.body
        assert status == 200 or "Content-Type" not in response.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 428),  # RFC 6585, section 3
        ({"If-None-Match": '"5-v1"'}, 428),
        ({"If-None-Match": "*"}, 412),  # 13.1.2: only if nothing is there
        ({"If-Match": '"5-v2"', "If-None-Match": '"5-v1"'}, 200),
        ({"If-Match": '"5-v2"', "If-None-Match": '"5-v2"'}, 412),
        ({"If-Match": '"5-v1"', "If-None-Match": '"5-v1"'}, 412),  # 13.2.2: If-Match first
        # 13.1.4: without effect next to If-Match, and without a Last-Modified
        ({"If-Match": '"5-v2"', "If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
    ],
)
def test_order_of_preconditions(client: TestApp, headers: dict[str, str], status: int) -> None:
    client.put("/", headers=headers, status=status)


def test_if_modified_since_has_no_effect_without_a_date(client: TestApp) -> None:
    client.get("/", headers={"If-Modified-Since": "Sat, 01 Jan 2050 00:00:00 GMT"}, status=200)


def test_preconditions_of_a_missing_resource_are_ignored(client: TestApp) -> None:
    """RFC 9110, section 13.2.1: the response without them would not be a success."""
    for headers in ({}, {"If-Match": "*"}, {"If-Match": '"5-v1"'}, {"If-None-Match": "*"}):
        client.put("/missing", headers=headers, status=404)


def test_optional_if_match_is_none_without_the_header(client: TestApp) -> None:
    client.put("/optional")


@pytest.mark.parametrize(
    ("options", "reason"),
    [({}, 'etag="{0.version}"'), ({"etag": '"{0.id}"'}, "without quotes")],
)
def test_route_that_could_not_compare_is_rejected(options: dict[str, Any], reason: str) -> None:
    assert reason in startup_errors(("PUT", "/", replace, options))


class Listed(Struct):
    items: list[int]
    next: Any


@pytest.mark.parametrize(
    ("pattern", "following", "sent", "query"),
    [
        ("after={0.next}", 42, "", "after=42"),
        ("after={0.next}", 42, "limit=20&after=7", "limit=20&after=42"),
        (
            "after={0.next}",
            42,
            "after=7&limit=20&q=%C3%A9+%26&q=",
            "limit=20&q=%C3%A9+%26&q=&after=42",
        ),
        ("after={0.next}", "a&b=c+d#é>,;", "", "after=a%26b%3Dc%2Bd%23%C3%A9%3E,%3B"),
        ("t={0.next[t]}&i={0.next[i]}", {"t": "x", "i": 1}, "i=0&limit=2", "limit=2&t=x&i=1"),
    ],
)
def test_link_to_the_next_page_keeps_the_query(
    pattern: str, following: Any, sent: str, query: str
) -> None:
    """RFC 8288, section 3; the reference is relative, as that of a Location is."""

    def index(name: str) -> Listed:
        return Listed([], following)

    client = client_for(("GET", "/<name>", index, {"next_page": pattern}))
    response = client.get(f"/caf%C3%A9%20?{sent}")
    assert response.headers["Link"] == f'</caf%C3%A9%20?{query}>; rel="next"'


@pytest.mark.parametrize("last", [Listed([], None), {"items": [], "next": None}])
def test_last_page_has_no_link(last: Any) -> None:
    client = client_for(("GET", "/", lambda: last, {"next_page": "after={0.next}"}))
    assert "Link" not in client.get("/?after=2").headers


def test_headers_of_options_are_described() -> None:
    """OpenAPI: the parts of the operations."""
    idempotent = {"public": False, "idempotent": "required", "etag": "{0}", "status": 201}

    def create(session: Any) -> int:
        return 1

    app = build_app(
        ("GET", "/", show, {**ETAG, "next_page": "after={0.next}"}),
        ("POST", "/", create, idempotent),
        ("DELETE", "/", remove, {"status": 204, **ETAG}),
        dependencies={
            "session": RequestScoped(lambda _method: nullcontext(), lambda: None),
            "idempotency_keys": object(),
        },
    )
    get, post, delete = (list(describe_options(route)) for route in app.routes)
    assert [name for part in get for name in part.get("headers", ())] == ["ETag", "Link"]
    assert [status for part in get for status in part.get("responses", ())] == [304]
    assert [one["name"] for one in (*get[1]["parameters"], *post[1]["parameters"])] == [
        "If-None-Match",
        "Idempotency-Key",
    ]
    assert post[1]["parameters"][0]["required"]
    assert list(post[1]["responses"]) == [409, 422]
    assert delete == []
    assert list(IfMatch.openapi["responses"]) == [412, 428]

"""Wildcards: the text of a URL becomes the type of the handler's parameter."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from bottle import Bottle
from msgspec import Meta, Struct

from .apps import build_app, client_for, startup_errors

ID = "123e4567-e89b-42d3-a456-426614174000"


class Colour(Enum):
    RED = "red"


class Point(Struct):
    x: int


@pytest.mark.parametrize(
    ("kind", "text", "value", "unknown"),
    [
        (UUID, ID, UUID(ID), "1"),
        (date, "2026-12-31", date(2026, 12, 31), "2026-02-30"),
        (datetime, "2026-12-31T01:00:00+01:00", datetime.fromisoformat("2026-12-31T00:00Z"), "now"),
        (int, "-7", -7, str(2**63)),
        (Annotated[int, Meta(ge=1)], "1", 1, "0"),
        (Decimal, "1.50", Decimal("1.50"), "sNaN"),
        (Decimal, "-7", Decimal(-7), "1_0"),
        (float, "0.5", 0.5, "inf"),
        (float, "1e2", 100.0, "1e"),
        (bool, "true", True, "on"),
        (timedelta, "PT90S", timedelta(seconds=90), "0"),
        (datetime, "2026-12-31T00:00:00Z", datetime.fromisoformat("2026-12-31T00:00Z"), "1.5e9"),
        (date, "2026-12-31", date(2026, 12, 31), '"2026-12-31"'),
        (int, "10", 10, "1.0"),
        (Colour, "red", Colour.RED, "blue"),
        (Literal["day", "week"], "week", "week", "year"),
        (Annotated[str, Meta(pattern="^[a-z]+$")], "abc", "abc", "ABC"),
        (int | Literal["latest"], "latest", "latest", "first"),
    ],
)
@pytest.mark.parametrize("rule", ["/x/<value>", "/x/<value:re:.+>", "/x/<value:path>"])
def test_text_becomes_the_type_or_is_404(
    kind: Any, text: str, value: Any, unknown: str, rule: str
) -> None:
    seen = []

    def show(value: kind) -> str:
        seen.append(value)
        return ""

    client = client_for(("GET", rule, show))
    client.get(f"/x/{text}")
    assert seen == [value]
    assert type(seen[0]) is type(value)
    problem = client.get(f"/x/{unknown}", status=404)
    assert problem.content_type == "application/problem+json"
    assert len(seen) == 1


def test_location_of_an_enum_is_the_address_of_its_value() -> None:
    def create() -> list[Colour]:
        return [Colour.RED]

    def show(value: Colour) -> Colour:
        return value

    client = client_for(
        ("POST", "/x", create, {"status": 201, "location": "/x/{0[0]}"}),
        ("GET", "/x/<value>", show),
    )
    assert client.get(client.post("/x").headers["Location"]).json == "red"


def named(value: Annotated[str, Meta(description="A name.")]) -> str:
    return value


def optional(value: str | None) -> str | None:
    return value


def anything(value: Any) -> Any:
    return value


def untyped(value):  # type: ignore[no-untyped-def]
    return value


@pytest.mark.parametrize("handler", [named, optional, anything, untyped])
def test_text_stays_a_text(handler: Any) -> None:
    assert client_for(("GET", "/<value>", handler)).get("/null").json == "null"


def test_limits_of_a_filtered_number_are_checked() -> None:
    def show(value: Annotated[int, Meta(le=5)], price: Decimal) -> list[Any]:
        return [value, price]

    client = client_for(("GET", "/<value:int>/<price:int>", show))
    assert client.get("/5/-7").json == [5, "-7"]
    client.get("/6/1", status=404)


def test_value_of_a_filter_of_ones_own_is_kept() -> None:
    class Slug(str):
        pass

    def add_routes(app: Bottle) -> None:
        app.router.add_filter("slug", lambda _config: ("[a-z-]+", Slug, str))
        app.route("/<value:slug>", "GET", show, public=True)

    def show(value: Slug) -> str:
        return type(value).__name__

    assert client_for(add_routes=add_routes).get("/a-b").json == "Slug"


def of_struct(value: Point) -> str:
    return ""


def of_list(value: list[int]) -> str:
    return ""


def of_path(value: Path) -> str:
    return ""


def of_optional_date(value: date | None) -> str:
    return ""


@pytest.mark.parametrize("handler", [of_struct, of_list, of_path, of_optional_date])
def test_type_that_no_text_becomes_is_rejected(handler: Any) -> None:
    problems = startup_errors(("GET", "/<value>", handler))
    kind = handler.__annotations__["value"]
    assert problems == (
        f"GET /<value>: a part of a URL does not make the type {kind}; annotate it with str"
    )
    build_app(("GET", "/<value>", handler, {"raw": True})).close()


@pytest.mark.parametrize(
    ("name", "kind", "advice"),
    [
        ("int", str, "annotate it with int"),
        ("id", UUID, "annotate it with int"),
        ("float", int, "annotate it with float"),
        ("int", date, "annotate it with int"),
    ],
)
def test_type_that_a_filter_does_not_make_is_rejected(name: str, kind: Any, advice: str) -> None:
    def show(value: kind) -> str:
        return ""

    problems = startup_errors(("GET", f"/<value:{name}>", show))
    assert f"the filter '{name}' does not make the type {kind}; {advice}" in problems

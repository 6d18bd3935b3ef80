"""Routes with each kind of parameter, result and option, for tests of the OpenAPI document."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from bottle import Bottle, HTTPResponse
from msgspec import Meta, Struct

from bottle_service.assets import Assets
from bottle_service.http import Form, Problem, RequestScoped, Upload
from bottle_service.openapi import OpenAPI

T = TypeVar("T")


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Point(NamedTuple):
    x: int
    y: float


class Circle(Struct, tag="circle", forbid_unknown_fields=True):
    radius: Annotated[float, Meta(gt=0, le=1000)]


class Square(Struct, tag="square", forbid_unknown_fields=True):
    side: Annotated[int, Meta(ge=1, le=1000, multiple_of=5)]


class Tree(Struct, forbid_unknown_fields=True):
    """A type that contains itself."""

    name: str
    children: list["Tree"] = []


class Search(Struct, forbid_unknown_fields=True):
    """A query with each type that a text becomes."""

    text: str
    code: Annotated[str, Meta(pattern="^[A-Z]{3}$", description="Three letters.")] = "ABC"
    count: int = 0
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    ratio: float | None = None
    number: Decimal | None = None
    day: date | None = None
    moment: datetime | None = None
    duration: timedelta | None = None
    uid: UUID | None = None
    is_open: bool = False
    order: Literal["up", "down"] = "up"
    colour: Colour = Colour.RED
    tags: list[str] = []
    numbers: list[int] = []


class Everything(Struct, forbid_unknown_fields=True, rename="camel"):
    """A body with each type that JSON becomes.

    The second paragraph.
    """

    short_text: Annotated[str, Meta(min_length=2, max_length=5)]
    count: int
    shape: Circle | Square
    moment: datetime
    clock: time | None = None
    point: Point = Point(1, 1.5)
    pair: tuple[str, int] = ("a", 1)
    by_name: dict[str, int] = {}
    names: set[str] = set()
    tree: Tree | None = None
    content: bytes = b""
    maximum: Annotated[int, Meta(lt=100)] = 0
    is_open: bool = False
    any_text_or_number: str | int = 1


class Local(Struct):
    """Types of a result: msgspec accepts further JSON for these in a request."""

    moment: Annotated[datetime, Meta(tz=False)]
    price: Decimal


class Photo(Struct, forbid_unknown_fields=True):
    title: Annotated[str, Meta(min_length=1, max_length=20)]
    photo: Upload
    more: list[Upload] = []


class Contact(Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1)]
    is_friend: bool
    birthday: date | None = None


class Page(Struct, Generic[T]):
    items: list[T]


class IfMatch(str):
    """A parameter that adds to its operation, as types of the service may do."""

    openapi = {  # noqa: RUF012
        "parameters": [
            {"name": "If-Match", "in": "header", "schema": {"type": "string"}, "example": '"1"'}
        ],
        "responses": {412: "The ETag differs."},
        "headers": {"ETag": {"schema": {"type": "string"}}},
    }


def search(query: Search) -> Search:
    """Search: a query of every type."""
    return query


def free(query: dict[str, str]) -> dict[str, str]:
    return query


def replace(number: int, body: Everything) -> Everything:
    return body


def grow(body: list[Tree]) -> Page[Tree]:
    return Page(body)


def add_photo(form: Photo) -> dict[str, str]:
    return {"title": form.title}


def add_contact(form: Contact) -> Contact:
    return form


def show_form(form: Form[Contact]) -> HTTPResponse:
    return HTTPResponse(f"{form.errors}", headers={"Content-Type": "text/plain"})


def local() -> Local:
    return Local(datetime(2026, 12, 31, 12), Decimal("1.50"))  # noqa: DTZ001


def by_id(item_id: int, client_name: str) -> dict[str, str | int]:
    return {"id": item_id, "client": client_name}


def by_ratio(ratio: float) -> float:
    return ratio


def by_code(code: str) -> str:
    return code


def by_name(name: str) -> str:
    return name


def by_types(
    day: date,
    uid: UUID,
    colour: Colour,
    size: Annotated[int, Meta(ge=1, le=9, description="A digit.")],
) -> list[Any]:
    return [day, uid, colour, size]


def by_measures(moment: datetime, number: Decimal, duration: timedelta) -> list[Any]:
    return [moment, number, duration]


def receive(body: bytes) -> int:
    return len(body)


def by_path(path: str) -> Any:
    return path


def stream(name: str) -> HTTPResponse:
    def chunks() -> Iterator[bytes]:
        yield name.encode()

    return HTTPResponse(chunks(), headers={"Content-Type": "text/plain"})


def maybe(name: str, assets: Assets) -> Page[str] | HTTPResponse:
    return Page([name]) if name != "file" else assets.serve("app.css")


def lend(body: Contact, session: list[str], if_match: IfMatch) -> Contact:
    if session:
        raise Problem(409, "It is lent already.")
    return body


def remove(item_id: int, session: list[str]) -> None:
    session.append(f"{item_id}")


def plain() -> str:
    return "plain"


def document(openapi: OpenAPI) -> HTTPResponse:
    return openapi.document()


def docs(openapi: OpenAPI) -> HTTPResponse:
    return openapi.page()


@contextmanager
def open_session(_method: str) -> Iterator[list[str]]:
    yield []


DEPENDENCIES = {
    "session": RequestScoped(open_session, lambda: None),
    "if_match": IfMatch(),
    "checks": {},
}


def add_routes(app: Bottle) -> None:
    app.route("/openapi.json", "GET", document, public=True)
    app.route("/docs", "GET", docs, public=True)
    app.route("/api/v1/search", "GET", search, public=True)
    app.route("/api/v1/free", "GET", free)
    app.route("/api/v1/things/<number:int>", ["PUT", "PATCH"], replace, max_body=100_000)
    app.route("/api/v2/trees", "POST", grow, status=201, location="/api/v1/names/{0.items}")
    app.route("/api/v1/files", "POST", receive)
    app.route("/api/v1/photos", "POST", add_photo)
    app.route("/api/v1/contacts", "POST", add_contact)
    app.route("/api/v1/forms", "POST", show_form, public=True)
    app.route("/api/v1/items/<item_id:id>", "GET", by_id, redirect_slashes=True)
    app.route("/api/v1/items/<other:id>", "DELETE", remove_other, status=204, admin=True)
    app.route("/api/v1/ratios/<ratio:float>", "GET", by_ratio)
    app.route("/api/v1/codes/<code:re:[a-z]{2}>", "GET", by_code, deprecated=True)
    app.route("/api/v1/names/<name>", "GET", by_name, summary="By name", tags=["names", "other"])
    app.route("/api/v1/types/<day>/<uid>/<colour>/<size:int>", "GET", by_types)
    app.route("/api/v1/measures/<moment>/<number>/<duration>", "GET", by_measures)
    app.route("/api/v1/paths/<path:path>", "GET", by_path, public=True)
    app.route("/streams/<name>", "GET", stream, public=True)
    app.route("/maybe/<name>", "GET", maybe)
    app.route("/api/v1/loans", "POST", lend, responses={409: "It is lent already."})
    app.route("/local", "GET", local, public=True)
    app.route("/plain", "ANY", plain, raw=True)


def remove_other(other: int, session: list[str]) -> None:
    """Remove an item."""
    remove(other, session)

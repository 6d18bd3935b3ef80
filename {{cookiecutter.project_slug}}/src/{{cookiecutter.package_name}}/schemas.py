"""The data that clients send and get."""

# <% if cookiecutter.database != "none" %>
from datetime import datetime
from typing import Annotated, Self

from msgspec import Meta, Struct, convert

from .models import Note

# The largest integer that both the database and msgspec support.
MAX_ID = 2**63 - 1


class NoteCreate(Struct, forbid_unknown_fields=True):
    """The body of a request that creates or replaces a note."""

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    body: Annotated[str, Meta(max_length=10_000)] = ""


class NoteOut(Struct):
    """A note in a response; times are UTC (RFC 3339)."""

    id: int
    title: str
    body: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_row(cls, note: Note) -> Self:
        return convert(note, cls, from_attributes=True)


class ListQuery(Struct, forbid_unknown_fields=True):
    """The query of a list: at most `limit` items with an ID greater than `after`."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: Annotated[int, Meta(ge=0, le=MAX_ID)] = 0


class NoteList(Struct):
    """Notes, oldest first; `next` is the `after` of the next page, null on the last page."""

    items: list[NoteOut]
    next: int | None
# <% else %>
from typing import Annotated

from msgspec import Meta, Struct


class GreetingCreate(Struct, forbid_unknown_fields=True):
    """The body of a request for a greeting."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]


class GreetingOut(Struct):
    greeting: str
# <% endif %>

"""The data the routes speak about."""

# <% if cookiecutter.database == "sqlite" %>
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct, convert
from sqlalchemy import DateTime, Dialect, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# SQLite and msgspec agree on integers up to this one.
MAX_ID = 2**63 - 1


class NewNote(Struct, forbid_unknown_fields=True):
    """What a client sends to create or replace a note."""

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    body: Annotated[str, Meta(max_length=10_000)] = ""


class Note(Struct):
    """A note as the service tells it; times are UTC (RFC 3339)."""

    id: int
    title: str
    body: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: "NoteRow") -> "Note":
        return convert(row, cls, from_attributes=True)


class PageQuery(Struct, forbid_unknown_fields=True):
    """Which notes: up to `limit` of those that follow the note `after`."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: Annotated[int, Meta(ge=0, le=MAX_ID)] = 0


class NotePage(Struct):
    """Notes, oldest first; `next` is the `after` of the next page, null on the last one."""

    items: list[Note]
    next: int | None


class Base(DeclarativeBase):
    """The tables. After a change: `make migration MESSAGE="what has changed"`."""


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC: SQLite keeps no zone, so it is taken off and put back here."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class NoteRow(Base):
    __tablename__ = "notes"
    # Without AUTOINCREMENT SQLite gives the id of a deleted note to the next one.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
# <% else %>
from typing import Annotated

from msgspec import Meta, Struct


class Name(Struct, forbid_unknown_fields=True):
    """Who is to be greeted."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]


class Greeting(Struct):
    greeting: str
# <% endif %>

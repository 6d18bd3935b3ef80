"""Rows of the database: versions, conflicts between them, and pages of them."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, Index, UniqueConstraint, event, func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bottle_service.database.migrations import Migrations
from bottle_service.database.pages import read_page
from bottle_service.database.sqlite import Database
from bottle_service.database.url import DatabaseUrl
from bottle_service.database.versioned import Versioned
from bottle_service.http import Problem


class Base(DeclarativeBase):
    """The metadata of the tables."""


class Book(Versioned, Base):
    __tablename__ = "books"
    __table_args__ = (UniqueConstraint("author", "title"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    author: Mapped[str]
    title: Mapped[str]
    isbn: Mapped[str | None] = mapped_column(unique=True)
    shelf: Mapped[str | None]


Index("ix_lower_shelf", func.lower(Book.shelf), unique=True)


class Loan(Base):
    __tablename__ = "loans"

    id: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("books.id"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = DatabaseUrl(f"sqlite:///{tmp_path}/db.sqlite3")
    with closing(Database(url, Migrations(tmp_path), threads=2, busy_timeout=1)) as database:
        with database.session("POST") as session:
            Base.metadata.create_all(session.connection())
            session.add(Book(author="a", title="first", isbn="1", shelf="a"))
        yield database


def problem_of(database: Database, *rows: Any) -> Problem:
    with pytest.raises(Problem) as caught, database.session("POST") as session:
        session.add_all(rows)
    assert caught.value.__cause__ is None  # it would be logged with the values of the row
    return caught.value


def version(database: Database) -> str:
    with database.session("GET") as session:
        return session.scalars(select(Book.version)).one()


def test_change_has_a_new_version_and_no_change_keeps_it(database: Database) -> None:
    versions = [version(database)]
    for title in ("second", "second", "first"):
        with database.session("PUT") as session:
            session.get_one(Book, 1).title = title
        versions.append(version(database))
    assert versions[1] == versions[2]
    assert len(set(versions)) == 3  # the same content as before is another version


def test_version_of_a_deleted_row_is_not_used_again(database: Database) -> None:
    """SQLite uses its ID again."""
    before = version(database)
    with database.session("DELETE") as session:
        session.delete(session.get_one(Book, 1))
        session.flush()
        session.add(Book(author="b", title="second"))
    with database.session("GET") as session:
        assert session.scalars(select(Book.id)).all() == [1]
    assert version(database) != before


@pytest.mark.parametrize("change", ["update", "delete"])
def test_row_that_has_changed_since_it_was_read_is_412(database: Database, change: str) -> None:
    """As another transaction would do at PostgreSQL; SQLite has one that writes."""

    def replace() -> None:
        with database.session("PUT") as session:
            book = session.get_one(Book, 1)
            session.execute(text("UPDATE books SET version = 'other'"))
            if change == "update":
                book.title = "lost"
            else:
                session.delete(book)

    with pytest.raises(Problem) as caught:
        replace()
    assert caught.value.status_code == 412


@pytest.mark.parametrize(
    ("book", "fields"),
    [
        (Book(author="b", title="x", isbn="1"), ["/isbn"]),
        (Book(author="a", title="first"), ["/author", "/title"]),
        (Book(id=1, author="b", title="x"), ["/id"]),
        (Book(author="b", title="x", shelf="A"), []),  # an index of an expression names no column
    ],
)
def test_unique_conflict_is_409_and_names_the_fields(
    database: Database, book: Book, fields: list[str]
) -> None:
    problem = problem_of(database, book)
    assert (problem.status_code, [error.pointer for error in problem.errors]) == (409, fields)
    assert not {"UNIQUE", "books", "ix_lower_shelf"} & {*problem.detail.replace(".", " ").split()}


def test_missing_reference_is_409(database: Database) -> None:
    assert problem_of(database, Loan(book_id=7)).status_code == 409


def test_missing_value_is_a_failure_of_the_service(database: Database) -> None:
    with pytest.raises(Exception, match="NOT NULL"), database.session("POST") as session:
        session.add(Book(author=None, title="x"))


def read_all(session: Session, by: Any, after: Any, **options: Any) -> list[list[int]]:
    """Return the IDs of all pages of two."""
    pages: list[list[int]] = []
    while not pages or after is not None:
        page = read_page(session, select(Book), by=by, after=after, limit=2, **options)
        pages.append([book.id for book in page.items])
        after = page.next
    return pages


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A session with six books; two of them have equal authors."""
    with database.session("POST") as session:
        session.execute(text("DELETE FROM books"))
        for number, author in enumerate("cabbda", 1):
            session.add(Book(id=number, author=author, title=f"{number}"))
        session.flush()
        yield session


@pytest.mark.parametrize("start", [None, 0])
def test_pages_contain_each_row_once(session: Session, start: int | None) -> None:
    assert read_all(session, Book.id, start) == [[1, 2], [3, 4], [5, 6]]
    assert read_all(session, Book.id, None, descending=True) == [[6, 5], [4, 3], [2, 1]]


def test_pages_can_have_several_keys(session: Session) -> None:
    key = (Book.author, Book.id)
    assert read_all(session, key, None) == [[2, 6], [3, 4], [1, 5]]
    assert read_all(session, key, None, descending=True) == [[5, 1], [4, 3], [6, 2]]


def test_pages_are_read_by_an_index(session: Session) -> None:
    statements: list[str] = []
    event.listen(
        session.connection(),
        "before_cursor_execute",
        lambda *arguments: statements.append(arguments[2]),
    )
    read_page(session, select(Book), by=(Book.author, Book.title), after=("b", "3"), limit=2)
    explained = session.connection().exec_driver_sql(
        f"EXPLAIN QUERY PLAN {statements[-1]}", ("b", "3", 3, 0)
    )
    (step,) = [row.detail for row in explained]
    assert re.fullmatch(r"SEARCH books USING INDEX \w+ \(\(author,title\)>\(\?,\?\)\)", step)


def test_page_of_no_rows_is_empty(session: Session) -> None:
    page = read_page(session, select(Book), by=Book.id, after=6, limit=2)
    assert (page.items, page.next) == ([], None)

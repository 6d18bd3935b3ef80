"""Idempotency-Key: the work of equal requests is done once, and has one response."""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import bottle
import pytest
from bottle import HTTPError, HTTPResponse
from msgspec import Struct
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select, text
from sqlalchemy.orm import Session
from webtest import TestApp

from bottle_service.database.idempotency import LIFETIME, IdempotencyKeys
from bottle_service.database.migrations import Migrations
from bottle_service.database.postgresql import Database as PostgreSQL
from bottle_service.database.postgresql_url import DatabaseUrl as PostgreSQLUrl
from bottle_service.database.sqlite import Database as SQLite
from bottle_service.database.url import DatabaseUrl as SQLiteUrl
from bottle_service.http import FieldError, Problem, RequestScoped

from ..support.postgresql import Cluster
from .apps import build_app, startup_errors

KEY = {"Idempotency-Key": '"k-1"'}
TOKENS = {"good": "tester", "other": "another"}
ANNA = {"title": "Anna"}


class Book(Struct, forbid_unknown_fields=True):
    title: str


class Stored(Struct):
    id: int
    title: str


class Library:
    """A database with the table `books`, and a client of routes that write to it."""

    def __init__(self, database: SQLite | PostgreSQL) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        metadata = MetaData()
        self.keys = IdempotencyKeys(metadata, clock=lambda: self.now)
        columns = Column("id", Integer, primary_key=True), Column("title", String, unique=True)
        self.books = Table("books", metadata, *columns)
        self.database = database
        with self.database.session("POST") as session:
            metadata.create_all(session.connection())
        self.fails: list[Exception] = []
        self.began, self.committed, self.go_on = Event(), Event(), Event()
        options = {"public": False, "status": 201, "location": "/books/{0.id}", "etag": "{0.title}"}
        app = build_app(
            ("POST", "/books", self.create, {**options, "idempotent": True}),
            ("POST", "/required", self.create, {**options, "idempotent": "required"}),
            ("POST", "/slow", self.create_slowly, {**options, "idempotent": True}),
            ("POST", "/fails-once", self.fail_and_repeat_slowly, {**options, "idempotent": True}),
            ("POST", "/two-steps", self.create_in_two_steps, {**options, "idempotent": True}),
            ("PUT", "/nothing", self.nothing, {"public": False, "status": 204, "idempotent": True}),
            ("POST", "/pages", self.page, {"public": False, "idempotent": True}),
            ("PUT", "/accepted", self.accept, {"public": False, "idempotent": True}),
            dependencies={
                "session": RequestScoped(self.database.session, self.database.close),
                "idempotency_keys": self.keys,
            },
            authenticate_client=TOKENS.get,
        )
        self.client = TestApp(app)
        self.client.authorization = ("Bearer", "good")

    def create(self, body: Book, session: Session) -> Stored:
        number = session.scalar(
            insert(self.books).values(title=body.title).returning(self.books.c.id)
        )
        if self.fails:
            raise self.fails.pop()
        bottle.response.set_cookie("seen", "1")
        return Stored(number or 0, body.title)

    def create_slowly(self, body: Book, session: Session) -> Stored:
        self.began.set()
        assert self.go_on.wait(20)
        return self.create(body, session)

    def fail_and_repeat_slowly(self, body: Book, session: Session) -> Stored:
        if self.fails:
            self.began.set()
            assert self.go_on.wait(20)
            raise self.fails.pop()
        time.sleep(1.5)
        return self.create(body, session)

    def create_in_two_steps(self, body: Book, session: Session) -> Stored:
        stored = self.create(body, session)
        session.commit()
        self.committed.set()
        assert self.go_on.wait(20)
        return stored

    def nothing(self, session: Session) -> None:
        self.create(Book("nothing"), session)

    def page(self, session: Session) -> HTTPResponse:
        self.create(Book("page"), session)
        return HTTPResponse("<p>\u00e9</p>", 303, {"Location": "/books", "X-Own": "1"})

    def accept(self, session: Session) -> HTTPResponse:
        self.create(Book("accepted"), session)
        return HTTPResponse({"title": "accepted"}, 202)

    def post(self, body: Any = ANNA, path: str = "/books", **options: Any) -> Any:
        return self.client.post_json(path, body, **{"headers": KEY, "status": 201, **options})

    def count(self, table: str = "books") -> int:
        with self.database.session("GET") as session:
            return session.scalar(select(func.count()).select_from(text(table))) or 0


@pytest.fixture(params=["sqlite", "postgresql"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    """A library on each database."""
    migrations = Migrations(tmp_path)
    if request.param == "sqlite":
        url = SQLiteUrl(f"sqlite:///{tmp_path}/db.sqlite3")
        library = Library(SQLite(url, migrations, threads=8, busy_timeout=5))
    else:
        library = Library(open_postgresql(request.getfixturevalue("postgresql"), migrations))
    with closing(library.client.app):
        yield library


def open_postgresql(cluster: Cluster, migrations: Migrations, deadline: float = 20) -> PostgreSQL:
    """Return an empty database. A request waits for a lock for 1/5 of the deadline."""
    url = PostgreSQLUrl.parse(cluster.url(cluster.create_database()))
    return PostgreSQL(url, migrations, name="library", threads=8, deadline=deadline)


def test_repeated_request_gets_the_stored_response(library: Library) -> None:
    first, second = library.post(), library.post()
    assert (second.status, second.body) == (first.status, first.body)
    for name in ("Location", "ETag", "Content-Type", "Content-Length"):
        assert second.headers.getall(name) == first.headers.getall(name)
    assert "Set-Cookie" in first.headers
    assert "Set-Cookie" not in second.headers  # it may be a credential
    assert library.count() == 1


def test_requests_without_a_key_are_independent(library: Library) -> None:
    for title in ("a", "b"):
        library.post({"title": title}, headers={})
    assert (library.count(), library.count("idempotency_keys")) == (2, 0)


def test_required_key_that_is_missing_is_400(library: Library) -> None:
    library.post(path="/required", headers={}, status=400)
    library.post(path="/required")


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ('"k"', "k"),
        ("k", "k"),  # as many clients send it
        ('"a \\"b\\" \\\\ , ;"', 'a "b" \\ , ;'),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (f'"{"k" * 255}"', "k" * 255),
        ("a:b/c=+~.", "a:b/c=+~."),
        ("a\\\\b", "a\\\\b"),
    ],
)
def test_key_is_a_quoted_or_bare_text(library: Library, header: str, key: str) -> None:
    library.post(headers={"Idempotency-Key": header})
    with library.database.session("GET") as session:
        assert session.scalar(text("SELECT key FROM idempotency_keys")) == key


@pytest.mark.parametrize(
    "header",
    [
        *("", '""', '"k', 'k"', '"a", "b"', "a,b", "a b", '"k";a=1', '"\\n"', '"\xe9"', "\xe9"),
        f'"{"k" * 256}"',
        "k" * 256,
        f'"{129 * chr(92) * 2}"',
    ],
)
def test_malformed_key_is_400(library: Library, header: str) -> None:
    library.post(headers={"Idempotency-Key": header}, status=400)
    assert library.count() == 0


def test_key_of_another_request_is_422(library: Library) -> None:
    library.post()
    problem = library.post({"title": "Bert"}, status=422)
    assert "another request" in problem.json["detail"]
    library.post(path="/required", status=422)
    library.client.post_json("/books?x=1", ANNA, headers=KEY, status=422)
    assert library.post().json == {"id": 1, "title": "Anna"}


def test_equal_keys_of_two_clients_are_different(library: Library) -> None:
    library.post()
    library.client.authorization = ("Bearer", "other")
    library.post({"title": "Bert"})
    assert library.count() == 2


def test_response_of_a_handler_is_repeated(library: Library) -> None:
    for _ in range(2):
        page = library.client.post("/pages", headers=KEY, status=303)
        assert (page.headers["X-Own"], page.content_type, page.text) == (
            "1",
            "text/html",
            "<p>é</p>",
        )
        assert page.headers["Location"] == "/books"
        nothing = library.client.put("/nothing", headers={"Idempotency-Key": "n"}, status=204)
        assert (nothing.body, "Content-Type" in nothing.headers) == (b"", False)
        accepted = library.client.put("/accepted", headers={"Idempotency-Key": "a"}, status=202)
        assert accepted.json == {"title": "accepted"}
    assert library.count() == 3


def test_error_of_the_work_is_repeated_with_its_own_request_id(library: Library) -> None:
    errors = [FieldError("/title", "is banned")]
    library.fails = [Problem(409, "No.", headers={"Retry-After": "7"}, errors=errors)]
    first, second = (library.post(status=409) for _ in range(2))
    assert second.json["errors"] == [{"pointer": "/title", "message": "is banned"}]
    assert second.json["request_id"] == second.headers["X-Request-ID"] != first.json["request_id"]
    assert second.headers["Retry-After"] == "7"
    assert (second.json["detail"], library.count()) == ("No.", 0)


@pytest.mark.parametrize(
    "failure",
    [
        HTTPResponse({"code": 7, "why": "no \u00e9"}, 409),
        HTTPResponse("<p>no \u00e9</p>", 409, {"X-Own": "1"}),
        HTTPResponse({"code": 7}, 422, {"Content-Type": "application/problem+json"}),
        HTTPResponse(b"\xe9", 410, {"Content-Type": "text/plain"}),
        HTTPError(418, "tea"),
        Problem(409, "No."),
    ],
)
def test_error_of_any_kind_is_repeated_as_it_was(library: Library, failure: Exception) -> None:
    library.fails = [failure]
    first, second = (library.post(status="4*") for _ in range(2))
    assert second.status == first.status
    assert second.body == first.body.replace(
        first.headers["X-Request-ID"].encode(), second.headers["X-Request-ID"].encode()
    )
    differing = ("X-Request-ID", "Content-Length")
    before, after = (
        [pair for pair in response.headers.items() if pair[0] not in differing]
        for response in (first, second)
    )
    assert sorted(before) == sorted(after)


def test_conflict_with_another_row_is_repeated(library: Library) -> None:
    library.post(headers={})
    for _ in range(2):
        assert library.post(status=409).json["errors"][0]["pointer"] == "/title"
        with library.database.session("POST") as session:
            session.execute(text("DELETE FROM books"))


@pytest.mark.parametrize("failure", [ZeroDivisionError(), Problem(503, "Later.")])
def test_failure_is_not_stored(library: Library, failure: Exception) -> None:
    library.fails = [failure]
    library.post(status="5*")
    assert (library.count(), library.count("idempotency_keys")) == (0, 0)
    library.post()
    assert library.count() == 1


def test_error_before_the_work_is_not_stored(library: Library) -> None:
    library.post({"titel": "Anna"}, status=422)
    library.client.post("/books", "{", headers=KEY, status=415)
    library.client.authorization = ("Bearer", "wrong")
    library.post(status=401)
    assert library.count("idempotency_keys") == 0


def test_six_equal_requests_at_once_do_the_work_once(library: Library) -> None:
    barrier = Barrier(6)

    def post(_: int) -> Any:
        barrier.wait()
        return TestApp(library.client.app).post_json(
            "/books", ANNA, headers={**KEY, "Authorization": "Bearer good"}, status=201
        )

    with ThreadPoolExecutor(6) as threads:
        responses = list(threads.map(post, range(6)))
    assert {response.body for response in responses} == {b'{"id":1,"title":"Anna"}'}
    assert sum("Set-Cookie" in response.headers for response in responses) == 1
    assert library.count() == 1


def test_request_that_waits_too_long_for_the_first_one_is_409(
    postgresql: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On SQLite a request that writes waits for any other, so 503 says all that is known."""
    library = Library(open_postgresql(postgresql, Migrations(tmp_path), deadline=2))
    with closing(library.client.app), ThreadPoolExecutor(6) as threads:
        first = threads.submit(library.post, path="/slow")
        assert library.began.wait(20)
        others = list(threads.map(lambda _: library.post(path="/slow", status=409), range(5)))
        library.go_on.set()
        for response in others:
            assert response.headers["Retry-After"] == "1"
            assert "still runs" in response.json["detail"]
        assert library.post(path="/slow").body == first.result().body
        assert library.count() == 1
    assert caplog.text == ""  # the server works, so nobody has to read of it


def test_error_is_sent_although_an_equal_request_has_claimed_the_key(
    postgresql: Cluster, tmp_path: Path
) -> None:
    """The first request rolls back, so the second one, which has waited, does the work."""
    library = Library(open_postgresql(postgresql, Migrations(tmp_path), deadline=4))
    library.fails = [Problem(409, "No.")]
    with closing(library.client.app), ThreadPoolExecutor(2) as threads:
        first = threads.submit(library.post, path="/fails-once", status="*")
        assert library.began.wait(20)
        second = threads.submit(library.post, path="/fails-once")
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while postgresql.execute(waits) == [(0,)]:
            time.sleep(0.02)
        library.go_on.set()
        assert (first.result().status_int, first.result().json["detail"]) == (409, "No.")
        assert library.post(path="/fails-once").body == second.result().body


def test_claim_that_waits_for_a_migration_is_503(postgresql: Cluster, tmp_path: Path) -> None:
    """No equal request runs then, so a 409 would be false."""
    library = Library(open_postgresql(postgresql, Migrations(tmp_path), deadline=2))
    with closing(library.client.app):
        with library.database.session("POST") as session:
            session.execute(text("LOCK TABLE idempotency_keys"))
            response = library.post(status=503)
        assert response.json["detail"] == "The database is busy."
        library.post()


def test_request_beside_a_handler_that_has_committed_is_409(library: Library) -> None:
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(library.post, path="/two-steps")
        assert library.committed.wait(20)
        waiting = library.post(path="/two-steps", status=409)
        library.go_on.set()
    assert waiting.headers["Retry-After"] == "1"
    assert library.post(path="/two-steps").body == first.result().body
    assert library.count() == 1


def test_claim_of_a_handler_that_failed_after_a_commit_expires(library: Library) -> None:
    claim = (
        "INSERT INTO idempotency_keys (client_name, key, digest, created_at) "
        "VALUES ('tester', 'k-1', :digest, '2026-01-01 00:00:00.000000')"
    )
    digest = hashlib.sha256(b'POST /books?\n{"title": "Anna"}').hexdigest()
    with library.database.session("POST") as session:
        session.execute(text(claim), {"digest": digest})
    library.now += timedelta(seconds=60)
    library.post(status=409)
    library.now += timedelta(seconds=1)
    library.post()


def test_key_lives_24_hours(library: Library) -> None:
    library.post()
    library.now += LIFETIME
    library.post({"title": "Bert"}, status=422)
    library.now += timedelta(seconds=1)
    library.post({"title": "Bert"})
    assert timedelta(hours=24) == LIFETIME


def test_expired_keys_are_deleted(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        library.post({"title": f"{number}"}, headers={"Idempotency-Key": f"{number}"})
    library.now += LIFETIME + timedelta(seconds=1)
    library.post({"title": "4"})
    assert library.count("idempotency_keys") == 4  # purged a moment ago
    monkeypatch.setattr("bottle_service.database.idempotency.PURGE_INTERVAL", 0.0)
    library.keys._next_purge = 0.0
    library.post({"title": "5"}, headers={"Idempotency-Key": "5"})
    assert library.count("idempotency_keys") == 2


def handler(session: Session) -> int:
    return 1


@pytest.mark.parametrize(
    ("method", "options", "reason"),
    [
        ("POST", {"idempotent": "always"}, 'must be True or "required"'),
        ("GET", {"idempotent": True}, "GET changes nothing"),
        ("POST", {"idempotent": True}, "is public"),
        ("POST", {"idempotent": True, "public": False}, "add this parameter"),
    ],
)
def test_route_that_cannot_be_idempotent_is_rejected(
    method: str, options: dict[str, Any], reason: str
) -> None:
    dependencies = {"session": object(), "idempotency_keys": IdempotencyKeys(MetaData())}
    assert reason in startup_errors((method, "/", handler, options), dependencies=dependencies)


def test_idempotent_route_without_the_table_is_rejected() -> None:
    options = {"idempotent": True, "public": False}
    session = RequestScoped(lambda _method: Session(), lambda: None)
    error = startup_errors(("POST", "/", handler, options), dependencies={"session": session})
    assert "add the dependency `idempotency_keys`" in error

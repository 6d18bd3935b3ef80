"""The database: its pragmas, its transactions, and the problems that stop a start."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session
from webtest import TestApp

from bottle_service.database.migrations import Migrations
from bottle_service.database.sqlite import Database
from bottle_service.database.url import DatabaseUrl
from bottle_service.http import RequestScoped
from bottle_service.startup import StartupError

from .apps import client_for
from .schema import MIGRATIONS, copy_migrations

REVISION = """
from alembic import op

revision, down_revision = "0001_things", None


def upgrade() -> None:
    op.execute("CREATE TABLE things (name TEXT)")
"""


def open_database(path: Path, busy_timeout: float = 5.0) -> Database:
    migrations = Migrations(path.parent / MIGRATIONS)
    url = DatabaseUrl(f"sqlite:///{path}")
    return Database(url, migrations, threads=4, busy_timeout=busy_timeout)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database at the newest revision, with an empty table `things`."""
    (copy_migrations(tmp_path) / "0001_things.py").write_text(REVISION)
    database = open_database(tmp_path / "db.sqlite3")
    database.migrate()
    yield database
    database.close()


class Thing(Struct):
    name: str


def create(body: Thing, session: Session) -> Thing:
    session.execute(text("INSERT INTO things VALUES (:name)"), {"name": body.name})
    if body.name == "lost":
        raise ZeroDivisionError
    return body


def index(session: Session) -> list[str]:
    return list(session.scalars(text("SELECT name FROM things")))


@pytest.fixture
def things(database: Database) -> Iterator[TestApp]:
    """A client of routes that use the database, and wait for it a short time."""
    impatient = open_database(database.path, busy_timeout=0.1)
    yield client_for(
        ("GET", "/things", index),
        ("POST", "/things", create, {"status": 201}),
        dependencies={"session": RequestScoped(impatient.session, impatient.close)},
    )
    impatient.close()


def problems_of(database: Database) -> str:
    return " ".join(str(problem) for problem in database.problems())


def test_pragmas_are_set(database: Database) -> None:
    expected = {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000, "synchronous": 1}
    for method in ("GET", "POST"):
        with database.session(method) as session:
            assert expected == {name: session.scalar(text(f"PRAGMA {name}")) for name in expected}


def test_exception_rolls_back(database: Database) -> None:
    with suppress(ZeroDivisionError), database.session("POST") as session:
        session.execute(text("INSERT INTO things VALUES ('a')"))
        raise ZeroDivisionError
    with database.session("GET") as session:
        assert index(session) == []


def test_failed_request_is_rolled_back(things: TestApp) -> None:
    problem = things.post_json("/things", {"name": "lost"}, status=500)
    assert problem.content_type == "application/problem+json"
    assert things.get("/things").json == []


def test_successful_request_is_committed(things: TestApp) -> None:
    things.post_json("/things", {"name": "kept"}, status=201)
    assert things.get("/things").json == ["kept"]


def test_writers_that_read_first_wait_for_each_other(database: Database) -> None:
    """Without BEGIN IMMEDIATE the second would fail immediately: its snapshot is outdated."""
    with database.session("POST") as session:
        session.execute(text("CREATE TABLE counter (n)"))
        session.execute(text("INSERT INTO counter VALUES (0)"))
    failures = []

    def count() -> None:
        try:
            for _ in range(25):
                with database.session("PUT") as session:
                    n = session.scalar(text("SELECT n FROM counter"))
                    session.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.session("GET") as session:
        assert (failures, session.scalar(text("SELECT n FROM counter"))) == ([], 100)


def test_writing_threads_queue_for_one_connection(database: Database) -> None:
    """At SQLite's lock, each with a connection, one in a thousand would wait for seconds."""

    def write() -> None:
        with database.session("POST") as session:
            session.execute(text("SELECT 1"))

    threads = [threading.Thread(target=write) for _ in range(3)]
    with database.session("POST") as session:
        session.execute(text("SELECT 1"))
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        status = session.connection().engine.pool.status()
        assert "Current Checked out connections: 1" in status
    for thread in threads:
        thread.join()


def test_locked_database_is_503(
    things: TestApp, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.session("POST") as session:
        session.execute(text("SELECT 1"))
        problem = things.post_json("/things", {"name": "x"}, status=503)
        assert problem.headers["Retry-After"] == "1"
        assert "The database is busy." in caplog.text
        things.get("/things", status=200)
    things.post_json("/things", {"name": "x"}, status=201)


def test_parameters_are_not_logged(
    things: TestApp, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.session("POST") as session:
        session.execute(text("DROP TABLE things"))
    things.post_json("/things", {"name": "private"}, status=500)
    assert "no such table" in caplog.text
    assert "private" not in caplog.text


def test_ping_raises_if_the_file_is_not_a_database(database: Database) -> None:
    database.ping()
    database.close()
    database.path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(DatabaseError, match="file is not a database"):
        database.ping()


@pytest.mark.parametrize("state", ["absent", "empty", "foreign"])
def test_database_that_is_not_migrated_is_a_problem(database: Database, state: str) -> None:
    database.close()
    for path in database.path.parent.glob("db.sqlite3*"):
        path.unlink()
    if state != "absent":
        database.path.write_bytes(b"" if state == "empty" else b"this is not a database" * 100)
    assert problems_of(database).startswith("DATABASE_URL: ")
    assert ("run the command `migrate`" in problems_of(database)) == (state != "foreign")
    assert database.path.exists() == (state != "absent")
    if state != "foreign":
        database.migrate()
        assert problems_of(database) == ""


def test_database_that_cannot_be_written_is_a_problem(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: path != database.path)
    assert problems_of(database) == (
        f"DATABASE_URL: {database.path} cannot be written by this user"
    )


def test_database_that_cannot_be_migrated_is_a_problem(database: Database, tmp_path: Path) -> None:
    database.close()
    for path in database.path.parent.glob("db.sqlite3*"):
        path.unlink()
    database.path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(StartupError, match="file is not a database"):
        database.migrate()
    with pytest.raises(StartupError, match="unable to open"):
        open_database(tmp_path / "none" / "db.sqlite3").migrate()

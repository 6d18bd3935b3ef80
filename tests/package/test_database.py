"""The database: its pragmas, its transactions, what is wrong with it."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from bottle import Bottle
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.orm import Session
from webtest import TestApp

from {{ cookiecutter.package_name }}.database import Database
from {{ cookiecutter.package_name }}.environment import BootError
from {{ cookiecutter.package_name }}.settings import load_settings

from .service import COMMAND, application, migrate


@pytest.fixture
def database(environ: dict[str, str]) -> Database:
    return Database(load_settings(environ))


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
def things(
    environ: dict[str, str], database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestApp]:
    """The service with a resource of the tests' own in place of its routes."""

    def add_routes(app: Bottle) -> None:
        app.route("/things", "GET", index, public=True)
        app.route("/things", "POST", create, public=True, status=201)

    monkeypatch.setattr(f"{COMMAND[-1]}.app.add_routes", add_routes)
    with database.session("POST") as session:
        session.execute(text("CREATE TABLE things (name TEXT)"))
    with application({**environ, "REQUEST_DEADLINE": "0.2"}) as app:
        yield TestApp(app)
    database.close()


def problems(database: Database) -> str:
    return " ".join(str(problem) for problem in database.problems())


def test_pragmas(database: Database) -> None:
    expected = {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000, "synchronous": 1}
    with database.session("GET") as session:
        found = {name: session.scalar(text(f"PRAGMA {name}")) for name in expected}
    database.close()
    assert found == expected


def test_an_error_rolls_back(database: Database) -> None:
    with suppress(ZeroDivisionError), database.session("POST") as session:
        session.execute(text("CREATE TABLE t (a)"))
        raise ZeroDivisionError
    with database.session("GET") as session:
        assert not session.execute(text("SELECT * FROM sqlite_master WHERE name = 't'")).all()
    database.close()


def test_writers_that_read_first_wait_for_each_other(database: Database) -> None:
    """Without BEGIN IMMEDIATE the second would fail at once: its view is out of date."""
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
    database.close()


def test_a_failed_request_leaves_nothing_behind(things: TestApp) -> None:
    problem = things.post_json("/things", {"name": "lost"}, status=500)
    assert problem.content_type == "application/problem+json"
    assert things.get("/things").json == []


def test_readiness_names_the_database(
    environ: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with application(environ) as app:
        client = TestApp(app)
        (tmp_path / "test.sqlite3").write_bytes(b"this is no database" * 100)
        problem = client.get("/readyz", status=503)
        assert "database" in problem.json["detail"]
        assert "Retry-After" in problem.headers
        assert "file is not a database" not in problem.text
        (record,) = caplog.records
        assert record.getMessage() == "request failed: The check 'database' fails."
        assert "file is not a database" in caplog.text
        client.get("/livez", status=200)


@pytest.mark.parametrize("state", ["absent", "empty", "foreign"])
def test_a_database_that_is_not_migrated(
    environ: dict[str, str], database: Database, state: str
) -> None:
    if state == "absent":
        database.path.unlink()
    else:
        database.path.write_bytes(b"" if state == "empty" else b"this is no database" * 100)
    assert problems(database).startswith("DATABASE_URL: ")
    assert ("migrate`" in problems(database)) == (state != "foreign")
    assert database.path.exists() == (state != "absent")
    if state != "foreign":
        migrate(environ)
        assert problems(database) == ""


def test_a_database_that_cannot_be_migrated(environ: dict[str, str], database: Database) -> None:
    database.path.write_bytes(b"this is no database" * 100)
    with pytest.raises(BootError, match="file is not a database"):
        database.migrate()
    with pytest.raises(BootError, match="unable to open"):
        Database(load_settings({**environ, "DATABASE_URL": "sqlite:////none/x"})).migrate()


def test_a_database_that_stays_locked(
    things: TestApp, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.session("POST") as session:
        session.execute(text("SELECT 1"))
        problem = things.post_json("/things", {"name": "x"}, status=503)
        assert problem.headers["Retry-After"] == "1"
        assert "The database is busy." in caplog.text
        things.get("/things", status=200)
    things.post_json("/things", {"name": "x"}, status=201)


def test_threads_wait_in_line_to_write(database: Database) -> None:
    """And not at SQLite's lock, each with a connection: there one in a thousand waits for seconds."""

    def write() -> None:
        with database.session("POST") as session:
            session.execute(text("SELECT 1"))

    threads = [threading.Thread(target=write) for _ in range(3)]
    with database.session("POST") as session:
        session.execute(text("SELECT 1"))
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        assert "Current Checked out connections: 1" in session.connection().engine.pool.status()
    for thread in threads:
        thread.join()
    database.close()


def test_no_parameter_is_logged(
    things: TestApp, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.session("POST") as session:
        session.execute(text("DROP TABLE things"))
    things.post_json("/things", {"name": "private"}, status=500)
    assert "no such table" in caplog.text
    assert "private" not in caplog.text

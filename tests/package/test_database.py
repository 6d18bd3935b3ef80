"""The database: its pragmas, its transactions, and the problems that stop a start."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    Column,
    Interval,
    MetaData,
    String,
    Table,
    create_engine,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DatabaseError, StatementError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from webtest import TestApp

from bottle_service.database.migrations import Migrations
from bottle_service.database.sqlite import Database
from bottle_service.database.types import ExactDecimal, UtcDateTime
from bottle_service.database.url import DatabaseUrl
from bottle_service.http import Form, Problem, RequestScoped
from bottle_service.startup import StartupError

from ..support.fixtures import Needs
from .apps import client_for
from .schema import (
    MIGRATIONS,
    MISSING_PARTS,
    copy_migrations,
    stream_of_a_closed_session,
)

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


def limit(session: Session) -> str:
    """Let the database, on the one connection that writes, not grow."""
    session.execute(text("PRAGMA max_page_count = 1"))  # SQLite sets it to the present number
    return "limited"


def index(session: Session) -> list[str]:
    return list(session.scalars(text("SELECT name FROM things")))


@pytest.fixture
def things(database: Database) -> Iterator[TestApp]:
    """A client of routes that use the database, and wait for it a short time."""
    impatient = open_database(database.path, busy_timeout=0.1)
    yield client_for(
        ("GET", "/things", index),
        ("POST", "/things", create, {"status": 201}),
        ("POST", "/limit", limit),
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


@pytest.mark.parametrize(("statement", "is_missing"), MISSING_PARTS)
def test_missing_table_or_column_is_500_and_names_the_commands(
    database: Database, caplog: pytest.LogCaptureFixture, statement: str, is_missing: bool
) -> None:
    """As when models.py has changed, and no migration."""

    def run(session: Session) -> None:
        session.execute(text(statement))

    sessions = RequestScoped(database.session, database.close)
    client = client_for(("POST", "/", run, {"status": 204}), dependencies={"session": sessions})
    client.post("/", status=500)
    assert ("make migration" in caplog.text and "make migrate" in caplog.text) == is_missing


def test_conflict_of_a_unique_value_is_409_and_names_the_fields(
    things: TestApp, database: Database
) -> None:
    with database.session("POST") as session:
        session.execute(text("CREATE UNIQUE INDEX a ON things (name)"))
    things.post_json("/things", {"name": "secret"}, status=201)
    problem = things.post_json("/things", {"name": "secret"}, status=409)
    assert problem.json["detail"] == "Another item has this name."
    assert problem.json["errors"] == [{"pointer": "/name", "message": "must be unique"}]
    assert "secret" not in problem.text
    with database.session("POST") as session:
        session.execute(text("DROP INDEX a"))
        session.execute(text("CREATE UNIQUE INDEX a ON things (lower(name))"))
    problem = things.post_json("/things", {"name": "SECRET"}, status=409)
    assert problem.json["detail"] == "Such an item exists already."


class Place(Struct, rename={"shelf_mark": "shelfMark"}):
    shelf_mark: str = "A"


PLACE = text("INSERT INTO places VALUES (:owner, :shelf_mark)")


def put_place(owner: int, body: Place, session: Session) -> Place:
    session.execute(PLACE, {"owner": owner, "shelf_mark": body.shelf_mark})
    return body


def put_form(owner: int, form: Form[Place], session: Session) -> dict[str, int]:
    assert form.data
    session.execute(PLACE, {"owner": owner, "shelf_mark": form.data.shelf_mark})
    return {}


def put_default(owner: int, session: Session) -> dict[str, int]:
    session.execute(PLACE, {"owner": owner, "shelf_mark": "A"})
    return {}


@pytest.mark.parametrize(
    ("handler", "sent", "pointers"),
    [
        (put_place, ("application/json", '{"shelfMark": "A"}'), ["/shelfMark"]),
        (put_form, ("application/x-www-form-urlencoded", "shelfMark=A"), ["/shelfMark"]),
        (put_default, ("", ""), []),
    ],
)
def test_conflict_names_no_field_that_the_client_does_not_send(
    database: Database, handler: Callable[..., Any], sent: tuple[str, str], pointers: list[str]
) -> None:
    with database.session("POST") as session:
        session.execute(text("CREATE TABLE places (owner, shelf_mark, UNIQUE (owner, shelf_mark))"))
    sessions = RequestScoped(database.session, database.close)
    client = client_for(("POST", "/<owner:int>", handler), dependencies={"session": sessions})
    content_type, body = sent
    client.post("/1", body, content_type=content_type)
    problem = client.post("/1", body, content_type=content_type, status=409).json
    assert problem["detail"] == "Such an item exists already."
    assert [error["pointer"] for error in problem.get("errors", [])] == pointers


def test_other_violated_constraint_is_500(things: TestApp, database: Database) -> None:
    with database.session("POST") as session:
        session.execute(text("DROP TABLE things"))
        session.execute(text("CREATE TABLE things (name TEXT CHECK (name <> 'forbidden'))"))
    things.post_json("/things", {"name": "forbidden"}, status=500)


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


METADATA = MetaData()
EVENTS = Table("events", METADATA, Column("n", BigInteger), Column("at", UtcDateTime))


class Event(Struct):
    at: datetime
    n: int = 0


@pytest.fixture
def events(database: Database) -> TestApp:
    """A client of routes that pass what the client sends to the database."""
    with database.session("POST") as session:
        METADATA.create_all(session.connection())

    def create(body: Event, session: Session) -> Event:
        session.execute(insert(EVENTS).values(n=body.n, at=body.at))
        return body

    def find(query: Event, session: Session) -> list[Event]:
        found = select(EVENTS.c.at, EVENTS.c.n).where(EVENTS.c.at <= query.at)
        rows = session.execute(found.where(EVENTS.c.n >= query.n))
        return [Event(at, n) for at, n in rows]

    def show(n: int, session: Session) -> int:
        return len(session.execute(select(EVENTS).where(EVENTS.c.n == n)).all())

    return client_for(
        ("POST", "/events", create),
        ("GET", "/events", find),
        ("GET", "/events/<n:int>", show),
        dependencies={"session": RequestScoped(database.session, database.close)},
    )


def test_time_is_the_same_when_it_is_created_and_read(events: TestApp) -> None:
    sent = {"at": "2026-06-01T12:30:00+01:00", "n": 2**63 - 1}
    created = events.post_json("/events", sent).json
    assert created["at"] == "2026-06-01T11:30:00Z"
    assert events.get("/events?at=2026-06-01T12:30:00%2B01:00").json == [created]
    assert events.get("/events?at=2026-06-01T12:29:00%2B01:00").json == []
    assert events.get(f"/events/{2**63 - 1}").json == 1


def test_values_that_the_database_does_not_accept_are_422_or_404(events: TestApp) -> None:
    time = "2026-06-01T12:30:00Z"
    for sent in ({"at": time, "n": 2**63}, {"at": "0001-01-01T00:00:00+14:00"}, {"at": time[:-1]}):
        events.post_json("/events", sent, status=422)
    for query in (f"at={time}&n={2**63}", "at=0001-01-01T00:00:00%2B14:00", f"at={time[:-1]}"):
        events.get(f"/events?{query}", status=422)
    events.get(f"/events/{2**63}", status=404)
    events.get(f"/events/{'9' * 20}", status=404)


def test_time_without_a_time_zone_is_refused(database: Database, events: TestApp) -> None:
    with database.session("POST") as session:
        with pytest.raises(StatementError, match="has no time zone; use a time such as"):
            session.execute(insert(EVENTS).values(at=datetime.fromisoformat("2026-06-01")))
        session.execute(insert(EVENTS).values(at=None))
        assert session.scalar(select(EVENTS.c.at)) is None


VALUES = Table("values", METADATA, Column("took", Interval), Column("text", String))


@pytest.mark.parametrize(
    "statement",
    [
        insert(VALUES).values(took=timedelta(days=99_999_999)),
        select(VALUES).where(VALUES.c.took < timedelta.max),
        insert(EVENTS).values(n=2**63),
        select(EVENTS).where(EVENTS.c.n == -(2**64)),
        insert(EVENTS).values(at=datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))),
        insert(VALUES).values(text="a\ud800b"),
        text("INSERT INTO things VALUES (zeroblob(2000000000))"),
    ],
)
@pytest.mark.usefixtures("events")
def test_value_that_no_column_stores_is_422(
    database: Database, caplog: pytest.LogCaptureFixture, statement: Any
) -> None:
    """Types of requests reject most of them; a handler may have one from elsewhere."""
    with pytest.raises(Problem) as caught, database.session("POST") as session:
        session.execute(statement)
    assert caught.value.status_code == 422
    assert caught.value.body == "A value cannot be stored."
    assert "should have rejected" in caplog.text
    with database.session("GET") as session:
        assert index(session) == []


PRICES = Table("prices", METADATA, Column("price", ExactDecimal(14, 3)))


@pytest.mark.usefixtures("events")
def test_decimal_is_stored_exactly(database: Database) -> None:
    prices = ["-99999999999.999", "-0.001", "0", "0.1", "0.300", "7", "99999999999.999"]
    expected = [Decimal(price) for price in prices]
    with database.session("POST") as session:
        for price in reversed(expected):
            session.execute(insert(PRICES).values(price=price))
        session.execute(insert(PRICES).values(price=None))
    with database.session("GET") as session:
        found = session.scalars(select(PRICES.c.price).order_by(PRICES.c.price)).all()
        assert list(map(str, found[1:])) == [f"{price:.3f}" for price in expected]
        for price in expected:
            equal = select(PRICES.c.price).where(PRICES.c.price == price)
            assert session.scalars(equal).all() == [price]
        less = select(PRICES.c.price).where(PRICES.c.price < Decimal("0.10001"))
        assert len(session.scalars(less).all()) == 4
        assert session.scalar(select(func.sum(PRICES.c.price))) == Decimal("7.399")
        assert session.scalar(select(func.max(PRICES.c.price) * 2)) == Decimal("199999999999.998")


@pytest.mark.parametrize(
    "price", ["9007199254740993", "1e999999", "-1E+11", "1.2345", "1e-999999", "NaN", "sNaN", "Inf"]
)
@pytest.mark.usefixtures("events")
def test_decimal_of_too_many_digits_is_422(database: Database, price: str) -> None:
    with pytest.raises(Problem) as caught, database.session("POST") as session:
        session.execute(insert(PRICES).values(price=Decimal(price)))
    assert caught.value.status_code == 422


@pytest.mark.parametrize(("precision", "scale"), [(16, 2), (2, 3), (5, -1)])
def test_decimal_that_a_float_cannot_hold_is_rejected(precision: int, scale: int) -> None:
    with pytest.raises(ValueError, match="precision <= 15"):
        ExactDecimal(precision, scale)


def test_decimals_below_one_are_stored() -> None:
    with Session(create_engine("sqlite://", poolclass=NullPool)) as session:
        table = Table("ratios", MetaData(), Column("ratio", ExactDecimal(3, 3)))
        table.create(session.connection())
        for ratio in ("0", "0E+5", "0.999"):
            session.execute(insert(table).values(ratio=Decimal(ratio)))
        found = session.scalars(select(table.c.ratio)).all()
    assert found == [Decimal("0.000"), Decimal("0.000"), Decimal("0.999")]


def test_overflow_of_a_handler_is_no_422(database: Database) -> None:
    with pytest.raises(OverflowError), database.session("POST"):
        timedelta(days=10**10)


def test_locked_database_is_503(
    things: TestApp, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.session("POST") as session:
        session.execute(text("SELECT 1"))
        problem = things.post_json("/things", {"name": "x"}, status=503)
        assert problem.headers["Retry-After"] == "1"
        (record,) = caplog.records
        assert record.getMessage() == "request failed: The database is busy."
        assert record.exc_info is None
        things.get("/things", status=200)
    things.post_json("/things", {"name": "x"}, status=201)


def call_and_write(session: Session) -> str:
    time.sleep(0.5)  # another service
    return write(session)


def read_commit_call_and_write(session: Session) -> str:
    index(session)
    session.commit()
    return call_and_write(session)


def read_call_and_write(session: Session) -> str:
    index(session)
    return call_and_write(session)


def write(session: Session) -> str:
    session.execute(text("INSERT INTO things VALUES ('called')"))
    return "written"


@pytest.mark.parametrize(
    ("handler", "waits"),
    [(call_and_write, False), (read_commit_call_and_write, False), (read_call_and_write, True)],
)
def test_call_before_the_transaction_does_not_block_writers(
    database: Database, handler: Callable[[Session], str], waits: bool
) -> None:
    """Six requests call another service for 0.5 s, and wait 2 s for the lock at most."""
    impatient = open_database(database.path, busy_timeout=2.0)
    client = client_for(
        ("POST", "/", handler),
        ("POST", "/write", write),
        dependencies={"session": RequestScoped(impatient.session, impatient.close)},
    )
    with ThreadPoolExecutor(7) as pool:
        started = time.monotonic()
        calls = [pool.submit(TestApp(client.app).post, "/", status="*") for _ in range(6)]
        time.sleep(0.2)
        TestApp(client.app).post("/write", status="*")
        waited = time.monotonic() - started - 0.2
        statuses = [call.result().status_int for call in calls]
        took = time.monotonic() - started
    impatient.close()
    assert (waited > 1) == waits
    assert (503 in statuses) == waits
    assert (took > 1.5) == waits
    with database.session("GET") as session:
        assert len(index(session)) >= statuses.count(200)


def test_session_goes_on_after_a_commit(database: Database) -> None:
    """What was committed stays, although the request fails."""
    with suppress(ZeroDivisionError), database.session("POST") as session:
        write(session)
        session.commit()
        assert index(session) == ["called"]
        write(session)
        raise ZeroDivisionError
    with database.session("GET") as session:
        assert index(session) == ["called"]


def test_transaction_after_a_commit_takes_the_lock_again(database: Database) -> None:
    other = open_database(database.path, busy_timeout=0.1)
    with database.session("POST") as session:
        index(session)
        session.commit()
        with other.session("POST") as free:
            write(free)
        index(session)
        with pytest.raises(Problem, match="busy"), other.session("POST") as locked:
            index(locked)
    other.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_stream_cannot_use_a_closed_session(
    database: Database, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """It would begin a transaction that nobody ends, and the pool would lose a connection."""
    impatient = open_database(database.path, busy_timeout=0.1)
    client = client_for(
        (method, "/", stream_of_a_closed_session),
        dependencies={"session": RequestScoped(impatient.session, impatient.close)},
    )
    for _ in range(20):
        client.request("/", method=method, status=500)
    assert "This Session has been permanently closed" in caplog.text
    impatient.ping()
    with impatient.session("POST") as session:
        write(session)
    impatient.close()


def test_full_database_is_503(things: TestApp, caplog: pytest.LogCaptureFixture) -> None:
    """One line is logged, and reads go on."""
    things.post_json("/things", {"name": "kept"}, status=201)
    things.post_json("/limit", status=200)
    with caplog.at_level("WARNING"):
        problem = things.post_json("/things", {"name": "x" * 100_000}, status=503)
    assert problem.headers["Retry-After"] == "60"
    assert problem.json["detail"] == "The database's disk is full."
    (record,) = caplog.records
    assert record.getMessage() == "request failed: The database's disk is full."
    assert record.exc_info is None
    assert things.get("/things").json == ["kept"]


@pytest.fixture
def small_disk(tmp_path: Path, needs: Needs) -> Iterator[Path]:
    """A file system of 3 MB."""
    needs("mount", also=os.getuid() == 0, reason="only root can mount a file system")
    directory = tmp_path / "disk"
    directory.mkdir()
    options = ["-t", "tmpfs", "-o", "size=3M", "tmpfs", str(directory)]
    if subprocess.run(["mount", *options], check=False, capture_output=True).returncode:
        needs("mount", also=False, reason="a file system cannot be mounted")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)  # a failed test leaves it open


def fill(ballast: Path) -> None:
    """Let the file take all the room that is left."""
    with ballast.open("ab") as file:
        file.write(b"x" * shutil.disk_usage(ballast.parent).free)


def test_full_disk_is_503_and_not_ready_until_there_is_room(small_disk: Path) -> None:
    (copy_migrations(small_disk) / "0001_things.py").write_text(REVISION)
    database = open_database(small_disk / "db.sqlite3")
    database.migrate()
    client = client_for(
        ("POST", "/things", create, {"status": 201}),
        ("GET", "/things", index),
        dependencies={"session": RequestScoped(database.session, database.close)},
    )
    database.ping()
    ballast = small_disk / "ballast"
    fill(ballast)
    statuses = {client.post_json("/things", {"name": "x"}, status="*").status_int}
    for _ in range(20):
        statuses.add(client.post_json("/things", {"name": "x" * 5000}, status="*").status_int)
    assert 503 in statuses
    assert statuses <= {201, 503}
    assert client.get("/things").status_int == 200
    with pytest.raises(OSError, match="No space left on device"):
        database.ping()
    database.close()  # the next connection is the first one, which creates files
    fill(ballast)
    assert client.get("/things", status=503).headers["Retry-After"] == "60"
    assert client.post_json("/things", {"name": "x"}, status=503).headers["Retry-After"] == "60"
    ballast.unlink()
    client.post_json("/things", {"name": "x"}, status=201)
    database.ping()
    database.close()


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

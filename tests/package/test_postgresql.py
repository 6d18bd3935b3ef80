"""PostgreSQL: sessions, the responses to its errors, and what happens while it is away."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from sqlalchemy import Column, MetaData, Table, insert, literal_column, select, text
from sqlalchemy.exc import InternalError, StatementError
from sqlalchemy.orm import Session
from webtest import TestApp

from bottle_service.database.migrations import Migrations
from bottle_service.database.postgresql import Database
from bottle_service.database.postgresql_url import DatabaseUrl
from bottle_service.database.types import ExactDecimal, UtcDateTime
from bottle_service.http import Problem, RequestScoped

from ..support.postgresql import Cluster
from .apps import client_for
from .schema import MISSING_PARTS, copy_migrations, stream_of_a_closed_session

REVISION = """
from alembic import op

revision, down_revision = "0001_things", None


def upgrade() -> None:
    op.execute("CREATE TABLE kinds (kind TEXT PRIMARY KEY)")
    op.execute('''
        CREATE TABLE things (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name TEXT NOT NULL UNIQUE CHECK (name <> 'forbidden'),
            kind TEXT REFERENCES kinds,
            size integer,
            code varchar(3)
        )
    ''')
    op.execute("CREATE UNIQUE INDEX ON things (lower(code))")
"""


@pytest.fixture(scope="module")
def migrated(postgresql: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database at the newest revision, which the tests copy."""
    directory = tmp_path_factory.mktemp("migrated")
    (copy_migrations(directory) / "0001_things.py").write_text(REVISION)
    name = postgresql.create_database()
    with closing(open_database(postgresql, name, directory)) as database:
        database.migrate()
    return name


@pytest.fixture
def name(postgresql: Cluster, migrated: str) -> str:
    """The name of a database of the test's own."""
    return postgresql.create_database(migrated)


def open_database(cluster: Cluster, name: str, directory: Path, **options: Any) -> Database:
    url = DatabaseUrl.parse(f"{cluster.url(name)}{options.pop('query', '')}")
    settings = {"name": f"app-{name}", "threads": 4, "deadline": 20.0, **options}
    return Database(url, Migrations(directory / "migrations"), **settings)


@pytest.fixture
def database(postgresql: Cluster, name: str, tmp_path: Path) -> Iterator[Database]:
    database = open_database(postgresql, name, tmp_path)
    yield database
    database.close()


class Thing(msgspec.Struct):
    name: str | None = "a"
    kind: str | None = None
    size: int | None = None
    code: str | None = None


def create(body: Thing, session: Session) -> Thing:
    session.execute(
        text("INSERT INTO things (name, kind, size, code) VALUES (:name, :kind, :size, :code)"),
        msgspec.structs.asdict(body),
    )
    return body


def index(session: Session) -> list[str]:
    return list(session.scalars(text("SELECT name FROM things ORDER BY id")))


def write_in_get(session: Session) -> str:
    session.execute(text("INSERT INTO things (name) VALUES ('x')"))
    return "written"


def run(body: Annotated[str, msgspec.Meta(max_length=500)], session: Session) -> str:
    session.execute(text(body))
    return "done"


def client_of(database: Database) -> TestApp:
    return client_for(
        ("GET", "/things", index),
        ("POST", "/things", create, {"status": 201}),
        ("GET", "/write", write_in_get),
        ("POST", "/run", run),
        dependencies={"session": RequestScoped(database.session, database.close)},
    )


@pytest.fixture
def things(database: Database) -> TestApp:
    return client_of(database)


def problems_of(database: Database) -> str:
    return " ".join(map(str, database.problems()))


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines of refused requests; none may have a traceback."""
    assert not [record for record in caplog.records if record.exc_info]
    return [r.getMessage() for r in caplog.records if "request failed" in r.getMessage()]


def test_session_has_its_settings(database: Database, name: str) -> None:
    expected = {
        "application_name": f"app-{name}",
        "timezone": "UTC",
        "lock_timeout": "4s",
        "statement_timeout": "9s",
        "idle_in_transaction_session_timeout": "20s",
        "client_connection_check_interval": "1s",
    }
    for method, read_only in (("GET", "on"), ("POST", "off"), ("HEAD", "on"), ("PUT", "off")):
        with database.session(method) as session:
            shown = {name: session.scalar(text(f"SHOW {name}")) for name in expected}
            assert shown == expected
            assert session.scalar(text("SHOW transaction_read_only")) == read_only


def test_options_of_the_url_replace_those_of_the_service(
    postgresql: Cluster, name: str, tmp_path: Path
) -> None:
    """PgBouncer refuses the parameter `options`."""
    for query, lock_timeout in (("&options=", "0"), ("&options=-clock_timeout%3D7s", "7s")):
        database = open_database(postgresql, name, tmp_path, query=query)
        with database.session("POST") as session:
            assert session.scalar(text("SHOW lock_timeout")) == lock_timeout
            assert session.scalar(text("SHOW statement_timeout")) == "0"
            assert session.scalar(text("SHOW client_connection_check_interval")) == "0"
        database.close()


def test_result_of_an_altered_type_needs_no_new_connection(
    postgresql: Cluster, name: str, database: Database
) -> None:
    """A prepared statement would fail with "cached plan must not change result type"."""
    for _ in range(8):
        with database.session("GET") as session:
            session.execute(text("SELECT * FROM things")).all()
    postgresql.execute("ALTER TABLE things ALTER size TYPE bigint", name)
    with database.session("GET") as session:
        assert session.execute(text("SELECT * FROM things")).all() == []


def test_successful_request_is_committed_and_failed_one_rolled_back(things: TestApp) -> None:
    things.post_json("/things", {"name": "kept"}, status=201)
    things.post_json("/things", {"name": "lost", "kind": "missing"}, status=409)
    assert things.get("/things").json == ["kept"]


def test_late_stream_takes_no_connection(
    postgresql: Cluster, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It would begin a transaction that nobody ends, and the pool would lose a connection."""
    impatient = open_database(postgresql, name, tmp_path, deadline=0.4)
    client = client_for(
        ("GET", "/", stream_of_a_closed_session),
        dependencies={"session": RequestScoped(impatient.session, impatient.close)},
    )
    for _ in range(20):
        client.get("/", status=500)
    assert "This Session has been permanently closed" in caplog.text
    impatient.ping()
    impatient.close()


def test_write_in_a_get_is_500(things: TestApp, database: Database) -> None:
    things.get("/write", status=500)
    with pytest.raises(InternalError), database.session("GET") as session:
        write_in_get(session)


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"name": "taken"}, 409, "Another item has this name."),
        ({"name": "b", "code": "Abc"}, 409, "Another item has this code."),
        ({"kind": "missing"}, 409, "refers to is gone"),
        ({"name": None}, 500, "failed"),
        ({"name": "forbidden"}, 500, "failed"),
        ({"size": 2**40}, 422, "cannot be stored"),
        ({"code": "long"}, 422, "cannot be stored"),
    ],
)
def test_violated_constraint_has_its_status(
    things: TestApp, body: dict[str, Any], status: int, detail: str
) -> None:
    things.post_json("/things", {"name": "taken", "code": "aBC"}, status=201)
    response = things.post_json("/things", body, status=status)
    assert detail in response.json["detail"]
    assert not {"taken", "forbidden", "things"} & set(str(response.json).split())
    if "Another item has" in detail:
        (error,) = response.json["errors"]
        assert error["pointer"] in ("/name", "/code")
    things.post_json("/things", {"name": "next"}, status=201)


@pytest.mark.parametrize("value", ["a\0b", "a\ud800b"])
def test_text_that_no_column_stores_is_422(
    database: Database, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    """Types of requests reject it; a handler may have it from elsewhere."""
    with pytest.raises(Problem) as caught, database.session("POST") as session:
        create(Thing(name=value), session)
    assert caught.value.status_code == 422
    assert "should have rejected" in caplog.text
    with database.session("GET") as session:
        assert index(session) == []


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("SELECT pg_sleep(5)", "(QueryCanceled 57014)"),
        ("LOCK TABLE things", "(LockNotAvailable 55P03)"),
        ("SELECT 1 FROM things FOR UPDATE NOWAIT", "(LockNotAvailable 55P03)"),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", "(SerializationFailure 40001)"),
        ("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", "(DeadlockDetected 40P01)"),
        ("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$", "(DiskFull 53100)"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "(AdminShutdown 57P01)"),
    ],
)
def test_expected_error_is_503_with_one_log_line(
    postgresql: Cluster,
    name: str,
    database: Database,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    statement: str,
    cause: str,
) -> None:
    impatient = open_database(postgresql, name, tmp_path, deadline=0.4)
    with database.session("POST") as session:
        create(Thing(), session)
    with database.session("POST") as session:
        session.execute(text("SELECT 1 FROM things FOR UPDATE"))
        response = client_of(impatient).post_json("/run", statement, status=503)
    assert response.headers["Retry-After"] == "1"
    assert response.json["detail"] in (
        "The database is busy.",
        "The database is not available.",
    )
    assert refusals(caplog) == [f"request failed: {response.json['detail']} {cause}"]
    client_of(impatient).post_json("/run", "SELECT 1")
    impatient.close()


def test_empty_pool_is_503(
    postgresql: Cluster, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = open_database(postgresql, name, tmp_path, threads=1, deadline=0.4)
    with database.session("POST") as session:
        session.execute(text("SELECT 1"))
        response = client_of(database).post_json("/run", "SELECT 1", status=503)
    assert response.headers["Retry-After"] == "1"
    assert refusals(caplog) == ["request failed: The database is busy. (pool timeout)"]
    client_of(database).post_json("/run", "SELECT 1")
    database.close()


def test_handler_that_is_idle_in_a_transaction_gets_503(
    postgresql: Cluster, name: str, tmp_path: Path
) -> None:
    database = open_database(postgresql, name, tmp_path, deadline=0.2)

    def call_another_service(session: Session) -> None:
        session.execute(text("SELECT 1"))
        time.sleep(0.4)
        session.execute(text("SELECT 1"))

    with pytest.raises(Problem) as caught, database.session("POST") as session:
        call_another_service(session)
    assert caught.value.status_code == 503
    database.close()


@pytest.mark.parametrize(("statement", "is_missing"), MISSING_PARTS)
def test_missing_table_or_column_is_500_and_names_the_commands(
    things: TestApp, caplog: pytest.LogCaptureFixture, statement: str, is_missing: bool
) -> None:
    """As when models.py has changed, and no migration."""
    things.post_json("/run", statement, status=500)
    assert ("make migration" in caplog.text and "make migrate" in caplog.text) == is_missing


def test_read_only_server_is_503_and_its_connections_are_replaced(
    postgresql: Cluster, name: str, things: TestApp, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a failover: a connection to a standby would otherwise stay in the pool."""
    postgresql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgresql.terminate(f"app-{name}")
    things.post_json("/things", {"name": "a"}, status=503)
    assert "(ReadOnlySqlTransaction 25006)" in refusals(caplog)[0]
    postgresql.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    things.post_json("/things", {"name": "a"}, status=201)


def test_read_only_flush_at_commit_replaces_the_connection(
    postgresql: Cluster, name: str, database: Database
) -> None:
    table = Table("kinds", MetaData(), Column("kind"))
    postgresql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgresql.terminate(f"app-{name}")
    with pytest.raises(Problem), database.session("POST") as session:
        session.execute(insert(table).values(kind="a"))
    postgresql.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    with database.session("POST") as session:
        session.execute(insert(table).values(kind="a"))


def test_connections_that_the_server_has_closed_are_replaced(
    postgresql: Cluster, name: str, things: TestApp
) -> None:
    things.get("/things")
    assert postgresql.terminate(f"app-{name}") >= 1
    assert things.get("/things").json == []


def test_time_keeps_its_moment_in_every_zone(
    postgresql: Cluster, name: str, tmp_path: Path
) -> None:
    table = Table("moments", MetaData(), Column("at", UtcDateTime))
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=-5)))
    postgresql.execute("CREATE TABLE moments (at timestamptz)", name)
    for query in ("", "&options=-ctimezone%3DAmerica/New_York"):
        database = open_database(postgresql, name, tmp_path, query=query)
        with database.session("POST") as session:
            session.execute(insert(table).values(at=moment))
            (read,) = session.scalars(select(table.c.at)).all()
            session.execute(table.delete())
        assert (read, read.tzinfo) == (moment, UTC)
        with pytest.raises(StatementError), database.session("POST") as session:
            session.execute(insert(table).values(at=datetime(2026, 1, 1)))  # noqa: DTZ001
        database.close()


def test_decimal_of_too_many_digits_is_422(
    postgresql: Cluster, name: str, database: Database
) -> None:
    """PostgreSQL itself would round it."""
    table = Table("prices", MetaData(), Column("price", ExactDecimal(14, 3)))
    postgresql.execute("CREATE TABLE prices (price numeric(14, 3))", name)
    with pytest.raises(Problem) as caught, database.session("POST") as session:
        session.execute(insert(table).values(price=Decimal("1.2345")))
    assert caught.value.status_code == 422
    with database.session("POST") as session:
        session.execute(insert(table).values(price=Decimal("99999999999.9")))
        (found,) = session.scalars(select(table.c.price).where(table.c.price > Decimal("1.23456")))
        # A sum may have more digits than a float holds.
        total = session.scalar(select(literal_column("99999999999999999.9", table.c.price.type)))
    assert str(found) == "99999999999.900"
    assert total == Decimal("99999999999999999.900")


def test_absent_server_is_a_warning_and_503(
    postgresql: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The service starts then: exit status 2 would keep systemd from starting it again."""
    (copy_migrations(tmp_path) / "0001_things.py").write_text(REVISION)
    create = "; create it: docs/how-to/postgresql.md, or on a host deploy/README.md"
    start = "; start PostgreSQL, or correct DATABASE_URL: docs/how-to/postgresql.md"
    reasons = {
        "postgresql:///x?host=/nonexistent": f"No such file or directory{start}",
        "postgresql://me:geheim@127.0.0.1:1/x": f"Connection refused{start}",
        "postgresql://me:geheim@missing.invalid/x": "failed to resolve host 'missing.invalid'",
        postgresql.url("missing"): f'database "missing" does not exist{create}',
        postgresql.url("postgres", user="missing"): f'role "missing" does not exist{create}',
    }
    for url, reason in reasons.items():
        database = Database(
            DatabaseUrl.parse(url),
            Migrations(tmp_path / "migrations"),
            name="app",
            threads=1,
            deadline=20.0,
        )
        assert database.problems() == []
        (warning,) = database.warnings()
        assert "DATABASE_URL: does not respond, so the service will not be ready" in str(warning)
        assert reason in str(warning)
        client_of(database).get("/things", status=503)
        assert reason in refusals(caplog)[-1]
        with pytest.raises(Problem) as caught:
            database.ping()
        assert caught.value.status_code == 503
        assert "geheim" not in f"{warning}{caplog.text}"
        database.close()
    assert len(refusals(caplog)) == len(reasons)


def test_service_recovers_when_the_server_is_back(
    postgresql: Cluster, name: str, things: TestApp, database: Database
) -> None:
    postgresql.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgresql.terminate(f"app-{name}")
    things.get("/things", status=503)
    postgresql.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    things.get("/things", status=200)
    database.ping()


def test_threads_never_wait_for_a_connection(database: Database, things: TestApp) -> None:
    statuses: list[int] = []
    barrier = threading.Barrier(4)

    def call() -> None:
        barrier.wait()
        for _ in range(10):
            statuses.append(things.post_json("/run", "SELECT pg_sleep(0.01)").status_int)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 40


def test_closed_database_keeps_no_connection_for_forked_workers(
    postgresql: Cluster, name: str, database: Database
) -> None:
    """Processes that share a connection read each other's rows."""
    connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
    count = f"{connections} 'app-{name}'"
    with database.session("GET") as session:
        session.execute(text("SELECT 1"))
    assert postgresql.execute(count) == [(1,)]
    database.close()
    deadline = time.monotonic() + 30
    while postgresql.execute(count) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_modules_of_the_settings_do_not_import_the_driver() -> None:
    """gevent patches the modules after the settings are read; the driver must come later."""
    code = "import sys, bottle_service.database.postgresql_url; print('psycopg' in sys.modules)"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], env=environ, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr


def test_greenlets_wait_for_the_server_together(
    postgresql: Cluster, name: str, tmp_path: Path
) -> None:
    code = """if True:
        from gevent import monkey, pool
        monkey.patch_all()
        import sys, time
        from pathlib import Path
        from sqlalchemy import text
        from bottle_service.database.migrations import Migrations
        from bottle_service.database.postgresql import Database
        from bottle_service.database.postgresql_url import DatabaseUrl
        url = DatabaseUrl(sys.argv[1])
        database = Database(url, Migrations(Path()), name="app", threads=5, deadline=20.0)
        def wait(_):
            with database.session("GET") as session:
                session.execute(text("SELECT pg_sleep(0.3)"))
        start = time.monotonic()
        list(pool.Pool(5).imap(wait, range(5)))
        print(time.monotonic() - start)
    """
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-B", "-c", code, postgresql.url(name)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=tmp_path)
    assert float(done.stdout) < 1.2, done.stderr  # 1.5 s one after the other


def test_lines_of_the_log_contain_no_parameters(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with suppress(Exception), database.session("POST") as session:
        session.execute(text("SELECT * FROM missing WHERE x = :x"), {"x": "geheim"})
    with pytest.raises(Exception, match="missing") as caught, database.session("POST") as session:
        session.execute(text("SELECT * FROM missing WHERE x = :x"), {"x": "geheim"})
    assert "geheim" not in f"{caught.value}{caplog.text}"


CHECKED = Table("things", MetaData(), Column("name"), Column("kind"))


@pytest.mark.parametrize(
    ("row", "named"),
    [
        # DETAIL:  Failing row contains (1, forbidden, geheim, null, null).
        ({"name": "forbidden", "kind": "geheim"}, 'constraint "things_name_check"'),
        # At the commit: DETAIL:  geheim CONTEXT:  PL/pgSQL function refuse() line 3 at RAISE
        ({"name": "a", "kind": "geheim"}, "a kind is forbidden\nHINT:  another"),
    ],
)
def test_violated_constraint_is_logged_without_the_row(
    postgresql: Cluster,
    name: str,
    database: Database,
    caplog: pytest.LogCaptureFixture,
    row: dict[str, str],
    named: str,
) -> None:
    postgresql.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.kind = 'geheim' THEN
                RAISE 'a kind is forbidden' USING ERRCODE = '23514',
                    DETAIL = NEW.kind, HINT = 'another';
            END IF;
            RETURN NEW;
        END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON things
            INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
        ALTER TABLE things DROP CONSTRAINT things_kind_fkey;
        """,
        name,
    )

    def create(session: Session) -> None:
        session.execute(insert(CHECKED).values(**row))

    sessions = RequestScoped(database.session, database.close)
    client = client_for(("POST", "/", create, {"status": 204}), dependencies={"session": sessions})
    client.post("/", status=500)
    assert named in caplog.text
    assert "geheim" not in caplog.text


def test_paused_session_is_idle_only_with_changes(
    postgresql: Cluster, name: str, tmp_path: Path
) -> None:
    """A person types for longer than a request may take."""
    database = open_database(postgresql, name, tmp_path, deadline=0.2)
    with database.session("POST") as session:
        session.execute(text("SELECT 1"))
        assert not database.pause(session)
        time.sleep(0.4)
        create(Thing(), session)
        assert database.pause(session)
        time.sleep(0.4)
    with database.session("GET") as session:
        assert index(session) == ["a"]
    database.close()

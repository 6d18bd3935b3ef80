"""Migrations of PostgreSQL: their transactions, their lock, and the revisions that Alembic writes."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    inspect,
)

from bottle_service.database import NAMING_CONVENTION
from bottle_service.database.migrations import Migrations
from bottle_service.database.postgresql import MIGRATION_LOCK, Database
from bottle_service.database.postgresql_url import DatabaseUrl
from bottle_service.database.types import ExactDecimal, UtcDateTime
from bottle_service.startup import StartupError

from ..support.postgresql import Cluster
from . import schema

STEP = """
from alembic import op

revision, down_revision = "{revision}", {before!r}


def upgrade() -> None:
    {statements}


def downgrade() -> None:
    {reverting}
"""
TABLE = "op.execute('CREATE TABLE things (id bigint PRIMARY KEY, name text)')"
DROP = "op.execute('DROP TABLE things')"
BUILD = """with op.get_context().autocommit_block():
        op.execute('DROP INDEX CONCURRENTLY IF EXISTS ix_things_name')
        op.execute('CREATE INDEX CONCURRENTLY ix_things_name ON things (name)')"""
UNBUILD = """with op.get_context().autocommit_block():
        op.execute('DROP INDEX CONCURRENTLY ix_things_name')"""


class History:
    """Migrations in a directory, and a database that has none yet."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.name = cluster.create_database()
        self.versions = schema.copy_migrations(directory)
        self.migrations = Migrations(self.versions.parent)
        self.database = self.open()

    def open(self) -> Database:
        url = DatabaseUrl(self.cluster.url(self.name))
        return Database(url, self.migrations, name="history", threads=1, deadline=20.0)

    def add(self, revision: str, statements: str, reverting: str = "pass") -> None:
        """Add a revision after the newest one."""
        before = next(reversed(self.migrations.revisions()), None)
        step = STEP.format(
            revision=revision, before=before, statements=statements, reverting=reverting
        )
        (self.versions / f"{revision}.py").write_text(step)

    def execute(self, statement: str) -> list[Any]:
        return self.cluster.execute(statement, self.name)

    def revision(self) -> str | None:
        """Return the revision of the database."""
        return next(
            (row[0] for row in self.execute("SELECT version_num FROM alembic_version")), None
        )

    def indexes(self) -> list[Any]:
        return self.execute(
            "SELECT indexrelid::regclass::text, indisvalid FROM pg_index "
            "WHERE indrelid = 'things'::regclass AND NOT indisprimary"
        )

    def problems(self) -> str:
        return " ".join(map(str, self.database.problems()))


@pytest.fixture
def history(
    postgresql: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[History]:
    monkeypatch.setattr(schema, "metadata", MetaData())
    history = History(postgresql, tmp_path)
    yield history
    history.database.close()


def startup_error(function: Callable[[], Any]) -> str:
    with pytest.raises(StartupError) as caught:
        function()
    return str(caught.value)


def test_old_or_divergent_schema_is_a_problem_and_newer_one_is_not(history: History) -> None:
    history.add("0001_things", TABLE, DROP)
    assert history.problems().endswith(
        "is at revision None, 0001_things is needed: run the command `migrate`"
    )
    history.database.migrate()
    history.add("0002_more", "pass")
    assert "is at revision 0001_things, 0002_more is needed" in history.problems()
    history.database.migrate()
    assert history.problems() == ""
    newer = history.versions / "0002_more.py"
    newer.unlink()
    assert history.problems() == ""
    assert history.database.migrate() == "0002_more"
    history.add("0002_other", "pass")
    assert "lacks 0002_other of this tree" in history.problems()
    assert "lacks 0002_other" in startup_error(history.database.migrate)


def test_failing_migration_leaves_those_before_it(history: History) -> None:
    history.add("0001_things", TABLE, DROP)
    history.add("0002_broken", "op.execute('ALTER TABLE things ADD a int'); op.execute('SELEC')")
    assert 'syntax error at or near "SELEC"' in startup_error(history.database.migrate)
    assert history.revision() == "0001_things"
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'things'"
    assert history.execute(f"{columns} ORDER BY 1") == [("id",), ("name",)]


def test_required_column_for_existing_rows_has_advice(history: History) -> None:
    history.add("0001_things", TABLE)
    history.database.migrate()
    history.execute("INSERT INTO things VALUES (7, 'geheim')")
    history.add("0002_size", "op.execute('ALTER TABLE things ADD size integer NOT NULL')")
    error = startup_error(history.database.migrate)
    assert "give it a `server_default` in models.py" in error
    assert "geheim" not in error


def test_concurrent_build_of_an_index_goes_up_down_and_up(history: History) -> None:
    history.add("0001_things", TABLE, DROP)
    history.add("0002_index", BUILD, UNBUILD)
    history.database.migrate()
    assert history.indexes() == [("ix_things_name", True)]
    assert history.database.downgrade("-1") == "0001_things"
    assert history.indexes() == []
    history.database.migrate()
    assert history.indexes() == [("ix_things_name", True)]
    assert history.database.downgrade("base") is None
    assert "no migration can be reverted" in startup_error(
        lambda: history.database.downgrade("base")
    )


def test_hosts_that_migrate_at_once_wait_for_each_other(history: History) -> None:
    """Also if one builds an index concurrently, which waits for all transactions."""
    history.add("0001_things", TABLE, DROP)
    history.add("0002_index", f"op.execute('SELECT pg_sleep(0.3)')\n    {BUILD}", UNBUILD)
    history.add("0003_row", "op.execute(\"INSERT INTO things VALUES (1, 'once')\")")
    # Limits of the role are for requests, not for migrations.
    history.execute(f"ALTER DATABASE {history.name} SET statement_timeout = '200ms'")
    databases = [history.open() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(Database.migrate, databases)) == [None] * 3
    assert history.execute("SELECT name FROM things") == [("once",)]
    assert "SET LOCAL can only be used in transaction blocks" not in history.cluster.log()
    assert history.indexes() == [("ix_things_name", True)]


def test_lock_of_another_migration_ends_the_wait_with_its_process(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.add("0001_things", TABLE, DROP)
    monkeypatch.setattr(Database, "migration_timeout", 0.3)
    url = f"{history.cluster.url(history.name)}&application_name=host-b"
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s::bigint)", [MIGRATION_LOCK])
        error = startup_error(history.database.migrate)
        assert f"process {other.info.backend_pid} of postgres (host-b, idle)" in error
    history.database.migrate()


def test_migration_lets_requests_pass_while_it_waits_for_a_table(history: History) -> None:
    """A request that waits behind a waiting ALTER TABLE would wait for the long reader, too."""
    history.add("0001_things", TABLE, DROP)
    history.database.migrate()
    history.add("0002_size", "op.execute('ALTER TABLE things ADD size integer')")
    migration = threading.Thread(target=history.open().migrate)
    slowest = 0.0
    with (
        psycopg.connect(history.cluster.url(history.name)) as reader,
        psycopg.connect(history.cluster.url(history.name), autocommit=True) as requests,
    ):
        reader.execute("SELECT * FROM things")
        requests.execute("SET statement_timeout = '3s'")
        migration.start()
        ends = time.monotonic() + 1.5
        while time.monotonic() < ends:
            start = time.monotonic()
            requests.execute("SELECT * FROM things")
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.01)
        assert migration.is_alive()
    migration.join(30)
    assert history.revision() == "0002_size"
    assert slowest > 0.02


def test_long_transaction_ends_the_wait_for_a_table_with_its_process(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.add("0001_things", TABLE, DROP)
    history.database.migrate()
    history.add("0002_size", "op.execute('ALTER TABLE things ADD size integer')")
    monkeypatch.setattr(Database, "table_lock_timeout", 0.2)
    url = f"{history.cluster.url(history.name)}&application_name=report"
    with psycopg.connect(url) as reader:
        reader.execute("SELECT * FROM things")
        error = startup_error(history.database.migrate)
        process = f"process {reader.info.backend_pid} of postgres (report, idle in transaction)"
        assert process in error
    assert history.revision() == "0001_things"
    history.database.migrate()


def columns(*more: Any) -> list[Any]:
    return [
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("name", String),
        *more,
    ]


# Columns of `things` before and after a change of the models.
CHANGES: dict[str, tuple[Callable[[], list[Any]], Callable[[], list[Any]]]] = {
    "column added": (columns, lambda: columns(Column("at", UtcDateTime))),
    "decimal added": (columns, lambda: columns(Column("price", ExactDecimal(10, 2)))),
    "type": (
        lambda: columns(Column("size", Integer)),
        lambda: columns(Column("size", BigInteger)),
    ),
    "server default": (
        lambda: columns(Column("n", String, server_default="")),
        lambda: columns(Column("n", String, server_default="it's")),
    ),
    "server default dropped": (
        lambda: columns(Column("n", Integer, server_default="1")),
        lambda: columns(Column("n", Integer)),
    ),
    "not null": (
        lambda: columns(Column("n", Integer, server_default="0")),
        lambda: columns(Column("n", Integer, server_default="0", nullable=False)),
    ),
    "unique": (
        lambda: columns(Column("n", String, unique=True)),
        lambda: columns(Column("n", String), UniqueConstraint("n", "name")),
    ),
    "index": (
        lambda: columns(Column("n", String)),
        lambda: columns(Column("n", String, index=True)),
    ),
    "foreign key": (
        lambda: columns(Column("n", ForeignKey("parents.id"))),
        lambda: columns(Column("n", Integer)),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_is_written_and_reverted(history: History, change: str) -> None:
    def shape() -> Any:
        with history.database.session("GET") as session:
            tables = inspect(session.connection())
            return (
                [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in tables.get_columns("things")],
                tables.get_unique_constraints("things"),
                tables.get_foreign_keys("things"),
                tables.get_indexes("things"),
            )  # fmt: skip

    shapes = []
    for message, things in zip(("first", "second", "nothing"), (*CHANGES[change], CHANGES[change][1]), strict=True):  # fmt: skip
        schema.metadata = MetaData(naming_convention=NAMING_CONVENTION)
        Table("parents", schema.metadata, Column("id", Integer, primary_key=True))
        Table("things", schema.metadata, *things())
        history.database.create_revision(message)
        written = (history.versions / f"{history.migrations.revisions()[-1]}.py").read_text()
        assert ("    pass\n" in written) == (message == "nothing")
        assert "batch_alter_table" not in written
        history.database.migrate()
        shapes.append(shape())
    assert shapes[0] != shapes[1] == shapes[2]
    history.database.downgrade("0001_first")
    assert shape() == shapes[0]
    history.database.migrate()
    assert shape() == shapes[1]


def test_commands_need_a_server(history: History) -> None:
    history.add("0001_things", TABLE, DROP)
    url = DatabaseUrl(history.cluster.url("missing"))
    database = Database(url, history.migrations, name="history", threads=1, deadline=20.0)
    for command in (
        database.migrate,
        lambda: database.downgrade("-1"),
        lambda: database.create_revision("more"),
    ):
        assert 'database "missing" does not exist' in startup_error(command)

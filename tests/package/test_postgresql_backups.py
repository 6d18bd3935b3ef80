"""Backups of PostgreSQL: their content, the lock of migrations, failures, and restored databases."""

import os
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from bottle_service.backups import BackupError, write_backup
from bottle_service.database.migrations import Migrations
from bottle_service.database.postgresql import Database
from bottle_service.database.postgresql_url import DatabaseUrl

from ..support.postgresql import PROGRAMS, Cluster
from . import schema

STEP = """
from alembic import op

revision, down_revision = "{revision}", {before!r}


def upgrade() -> None:
    op.execute("{statement}")
"""
THINGS = "CREATE TABLE things (id bigint GENERATED ALWAYS AS IDENTITY, name text)"


class Backups:
    """A database with 2 000 rows, and the directory of its backups."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory / "backups"
        self.versions = schema.copy_migrations(directory)
        self.migrations = Migrations(self.versions.parent)
        self.add("0001_things", None, THINGS)
        self.name = cluster.create_database()
        self.database = self.open(self.name)
        self.database.migrate()
        self.execute("INSERT INTO things (name) SELECT 'n' || i FROM generate_series(1, 2000) i")

    def add(self, revision: str, before: str | None, statement: str) -> None:
        step = STEP.format(revision=revision, before=before, statement=statement)
        (self.versions / f"{revision}.py").write_text(step)

    def open(self, name: str) -> Database:
        url = DatabaseUrl(self.cluster.url(name))
        return Database(url, self.migrations, name="backups", threads=2, deadline=20.0)

    def execute(self, statement: str, name: str = "") -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = self.cluster.execute(statement, name or self.name)
        return rows

    def backup(self) -> Path:
        return write_backup("sample", self.database, self.directory, 14)

    def fail(self) -> str:
        """Return the message of a backup that must fail, and must leave nothing."""
        before = [*self.directory.glob("*")]
        with pytest.raises(BackupError) as caught:
            self.backup()
        assert [*self.directory.glob("*")] == before
        return str(caught.value)


@pytest.fixture
def backups(
    postgresql: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Backups]:
    monkeypatch.setenv("PATH", str(PROGRAMS), prepend=os.pathsep)
    backups = Backups(postgresql, tmp_path)
    yield backups
    backups.database.close()


def test_backup_under_load_has_each_earlier_write_once(backups: Backups) -> None:
    written: list[str] = []
    stop = threading.Event()

    def write(writer: int) -> None:
        while not stop.is_set():
            name = f"{writer}-{len(written)}-{secrets.token_hex(4)}"
            with backups.database.session("POST") as session:
                session.execute(text("INSERT INTO things (name) VALUES (:name)"), {"name": name})
            written.append(name)

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, writer) for writer in range(2)]
        end = time.monotonic() + 20
        try:
            while len(written) < 20:
                assert time.monotonic() < end
                time.sleep(0.01)
            before = set(written)
            backup = backups.backup()
        finally:
            stop.set()
        for writer in writers:
            writer.result()
    assert backup.name.endswith("Z-0001_things.dump")
    assert backup.stat().st_mode & 0o777 == 0o600
    restored = backups.cluster.create_database()
    assert backups.database.restore(backup, restored) == "0001_things"
    names = [row[0] for row in backups.execute("SELECT name FROM things", restored)]
    assert len(names) == len(set(names))
    assert before <= set(names)
    assert len(names) >= 2000 + len(before)
    database = backups.open(restored)
    assert database.problems() == []
    with database.session("POST") as session:  # the identity goes on
        session.execute(text("INSERT INTO things (name) VALUES ('afterwards')"))
    assert backups.execute("SELECT count(*) - count(DISTINCT id) FROM things", restored) == [(0,)]
    database.close()


def test_backup_waits_for_a_rewriting_migration(backups: Backups) -> None:
    """Without the lock the backup would have no row of the table, and would succeed."""
    emptied, go_on = threading.Event(), threading.Event()

    def migrate() -> None:
        with backups.database.migrating() as connection:
            emptied.set()
            go_on.wait(20)
            connection.execute(text("ALTER TABLE things ALTER COLUMN name TYPE varchar(20)"))

    with ThreadPoolExecutor(2) as pool:
        migration = pool.submit(migrate)
        assert emptied.wait(20)
        waiting = pool.submit(backups.backup)
        time.sleep(0.5)
        assert not waiting.done()
        go_on.set()
        backup = waiting.result()
        migration.result()
    restored = backups.cluster.create_database()
    backups.database.restore(backup, restored)
    assert backups.execute("SELECT count(*) FROM things", restored) == [(2000,)]
    type_ = "SELECT data_type FROM information_schema.columns WHERE column_name = 'name'"
    assert ("character varying",) in backups.execute(type_, restored)


def test_backup_beside_a_long_migration_fails(backups: Backups) -> None:
    backups.database.migration_timeout = 0.2
    with backups.open(backups.name).migrating():
        assert "waited 0.2 s for a lock of process" in backups.fail()


def test_migration_waits_for_a_backup(
    backups: Backups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program holds the lock of migrations until it ends."""
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\nsleep 0.5\nexec "$REAL/pg_dump" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("REAL", str(PROGRAMS))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(backups.backup)
        time.sleep(0.3)
        other = backups.open(backups.name)
        with other.migrating():
            assert len([*backups.directory.glob("*")]) == 1
        running.result()
        other.close()


def test_backup_does_not_wait_long_for_a_locked_table(backups: Backups) -> None:
    backups.database.backup_lock_timeout = 0.1
    with psycopg.connect(backups.cluster.url(backups.name)) as connection:
        connection.execute("LOCK TABLE things")
        message = backups.fail()
    assert "canceling statement due to" in message
    assert "LOCK TABLE public.things" in message


def test_missing_program_is_reported(backups: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "the program pg_dump is missing; install the package postgresql-cl" in backups.fail()


def test_password_is_not_on_the_command_line(
    backups: Backups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\necho "$@ and $PGPASSWORD" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    url = DatabaseUrl(backups.cluster.url(backups.name).replace("postgres@", "postgres:s3cret@"))
    backups.database = Database(url, backups.migrations, name="backups", threads=1, deadline=20.0)
    message = backups.fail()
    arguments, _, password = message.partition(" and ")
    assert f"dbname={backups.name}" in arguments
    assert "s3cret" not in arguments
    assert password == "s3cret"


def test_restore_refuses(backups: Backups, tmp_path: Path) -> None:
    def fail(file: Path, target: str) -> str:
        with pytest.raises(BackupError) as caught:
            backups.database.restore(file, target)
        return str(caught.value)

    backup, empty = backups.backup(), backups.cluster.create_database()
    assert "is not empty: it has alembic_version" in fail(backup, backups.name)
    assert 'database "nowhere" does not exist; create it with' in fail(backup, "nowhere")
    (tmp_path / "text").write_text("not a backup")
    assert "text cannot be read: pg_restore: error: input file" in fail(tmp_path / "text", empty)
    (tmp_path / "cut").write_bytes(backup.read_bytes()[:-500])
    assert "cut cannot be read: pg_restore: error: " in fail(tmp_path / "cut", empty)
    assert "missing cannot be read: " in fail(tmp_path / "missing", empty)
    (backups.versions / "0001_things.py").unlink()
    assert "at revision 0001_things, which this release does not know" in fail(backup, empty)
    relations = "SELECT 1 FROM pg_class WHERE relname IN ('things', 'alembic_version')"
    assert backups.execute(relations, empty) == []
    backups.execute("DROP TABLE alembic_version")
    assert "has no revision" in backups.fail()


def test_migration_is_needed_only_for_an_older_revision(backups: Backups) -> None:
    assert not backups.database.needs_migration()
    backups.add("0002_more", "0001_things", "CREATE TABLE more (id bigint)")
    assert backups.database.needs_migration()
    empty = backups.open(backups.cluster.create_database())
    missing = backups.open("nowhere")
    assert not empty.needs_migration()
    assert not missing.needs_migration()
    empty.close()
    missing.close()

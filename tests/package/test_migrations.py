"""Migrations: how they are written and run, on a history of the tests' own."""

import ast
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, text

from bottle_service.cli import main
from bottle_service.database.migrations import Migrations
from bottle_service.database.sqlite import Database
from bottle_service.database.url import DatabaseUrl
from bottle_service.startup import StartupError

from . import schema
from .sample.app import SERVICE

STEP = """
from alembic import op

revision, down_revision = {revision!r}, {before!r}


def upgrade() -> None:
    {statements}
"""
PARENTS = "CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"
CHILDREN = (
    "CREATE TABLE children (parent INTEGER NOT NULL REFERENCES parents (id) ON DELETE CASCADE)"
)
TABLES = (f"op.execute({PARENTS!r})", f"op.execute({CHILDREN!r})")
BATCH = "with op.batch_alter_table('parents') as batch: batch.alter_column('name', nullable=True)"


class History:
    """Migrations in a directory, and a database that has none yet."""

    def __init__(self, directory: Path) -> None:
        self.versions = schema.copy_migrations(directory)
        self.migrations = Migrations(self.versions.parent)
        self.database = Database(
            DatabaseUrl(f"sqlite:///{directory}/db.sqlite3"),
            self.migrations,
            threads=1,
            busy_timeout=1.0,
        )
        self.database.migrate()

    def add(self, revision: str, *statements: str, after: str | None = None) -> None:
        """Add a revision, after the newest or another one."""
        before = after or next(reversed(self.migrations.revisions()), None)
        lines = "\n    ".join(statements) or "pass"
        step = STEP.format(revision=revision, before=before, statements=lines)
        (self.versions / f"{revision}.py").write_text(step)

    def write(self, message: str, *columns: Column[Any]) -> str:
        """Have the revision written that creates a table of these columns; return its text."""
        schema.metadata = MetaData()
        Table("things", schema.metadata, *columns)
        self.database.create_revision(message)
        return (self.versions / f"{self.migrations.revisions()[-1]}.py").read_text()

    def execute(self, statement: str) -> list[Any]:
        """Return the first column of the statement's result."""
        with closing(sqlite3.connect(self.database.path, isolation_level=None)) as connection:
            return [row[0] for row in connection.execute(statement)]

    def problems(self) -> str:
        return " ".join(str(problem) for problem in self.database.problems())

    def run(self, *command: str) -> None:
        """Run a command of a service that has this database."""
        service = replace(SERVICE, open_database=lambda _settings: self.database)
        main(service, command)


@pytest.fixture
def history(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[History]:
    monkeypatch.setattr(schema, "metadata", MetaData())
    monkeypatch.setattr("os.environ", environ)
    history = History(tmp_path)
    yield history
    history.database.close()


def test_migration_is_written_for_changed_tables(history: History) -> None:
    assert "create_table('things'" in history.write("Things, again!", Column("name", String))
    assert history.migrations.revisions() == ["0001_things_again"]
    assert "0001_things_again is needed" in history.problems()
    assert history.problems().endswith("run the command `migrate`")


@pytest.mark.parametrize(
    "message", ['rename "title"', 'no """title"""', "it's C:\\new\\", '"""\nraise SystemExit\n"""']
)
def test_message_of_a_migration_is_never_code(history: History, message: str) -> None:
    (first, *_) = ast.parse(history.write(message, Column("name", String))).body
    assert isinstance(first, ast.Expr)
    assert ast.literal_eval(first.value) == message
    history.database.migrate()
    assert history.problems() == ""


def test_without_migrations_there_is_nothing_to_run(history: History) -> None:
    assert history.problems() == ""
    history.database.path.write_bytes(b"")
    assert history.problems() == ""


def test_copied_table_keeps_the_rows_that_refer_to_it(history: History) -> None:
    """SQLite cannot alter a column: Alembic copies the table and drops the old one."""
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.execute("INSERT INTO parents VALUES (1, 'x')")
    history.execute("INSERT INTO children VALUES (1), (1), (1)")
    history.add("0002_nullable", BATCH)
    history.database.migrate()
    assert history.execute("SELECT \"notnull\" FROM pragma_table_info('parents')") == [0, 0]
    assert history.execute("SELECT count(*) FROM children") == [3]
    with history.database.session("POST") as session:
        assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_migration_that_leaves_orphans_changes_nothing(history: History) -> None:
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.execute("INSERT INTO parents VALUES (1, 'x')")
    history.execute("INSERT INTO children VALUES (1), (1)")
    history.add("0002_nullable", BATCH)
    history.add("0003_orphans", "op.execute('DELETE FROM parents')")
    with pytest.raises(StartupError) as caught:
        history.database.migrate()
    (problem,) = caught.value.problems
    assert str(problem) == ("DATABASE_URL: rows of children would refer to missing rows of parents")
    # 0002_nullable was to run in the same transaction.
    assert history.execute("SELECT \"notnull\" FROM pragma_table_info('parents')") == [0, 1]
    assert history.execute("SELECT id FROM parents") == [1]
    assert history.execute("SELECT version_num FROM alembic_version") == ["0001_tables"]


def test_migrate_without_new_revisions_accepts_orphans_of_before(history: History) -> None:
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.execute("INSERT INTO children VALUES (1)")
    history.database.migrate()


def test_newer_database_is_left_unchanged(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rollback to this release keeps the tables of the release after it."""
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.execute("UPDATE alembic_version SET version_num = '0002_newer'")
    before = history.execute("SELECT sql FROM sqlite_master")
    assert history.problems() == ""
    history.run("migrate")
    (line,) = capsys.readouterr().out.splitlines()
    assert "0002_newer, which this release does not know" in line
    assert history.execute("SELECT sql FROM sqlite_master") == before
    assert history.execute("SELECT version_num FROM alembic_version") == ["0002_newer"]


def test_newer_database_gets_no_new_migration(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.execute("UPDATE alembic_version SET version_num = '0002_newer'")
    with pytest.raises(SystemExit, match=r"^2$"):
        history.run("revision", "-m", "more")
    error = capsys.readouterr().err
    assert "0002_newer" in error
    assert "run the command" not in error


def test_outdated_database_gets_no_new_migration(history: History) -> None:
    history.add("0001_tables", *TABLES)
    with pytest.raises(StartupError, match=r"0001_tables is needed: run the command `migrate`"):
        history.write("things", Column("name", String))


@pytest.mark.parametrize("command", [["check"], ["migrate"], ["revision", "-m", "more"]])
@pytest.mark.parametrize("newest", ["0002_b", "0003_b"])
def test_two_newest_migrations_are_a_problem(
    history: History, command: list[str], newest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a merge of two branches, also if only the number of one was changed."""
    history.add("0001_tables", *TABLES)
    history.database.migrate()
    history.add("0002_a")
    history.add(newest, after="0001_tables")
    with pytest.raises(SystemExit, match=r"^2$"):
        history.run(*command)
    (_, line) = capsys.readouterr().err.splitlines()
    assert f"0002_a and {newest} are both the newest" in line
    assert "down_revision" in line
    assert "run the command" not in line
    assert history.execute("SELECT version_num FROM alembic_version") == ["0001_tables"]
    (history.versions / f"{newest}.py").unlink()
    history.add("0003_b")
    history.database.migrate()
    assert history.problems() == ""


def test_message_of_a_revision_is_required(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([], ["-m", ""], ["-m", "…"]):
        with pytest.raises(SystemExit, match=r"^2$"):
            history.run("revision", *arguments)
    assert "describe the change" in capsys.readouterr().err
    assert history.migrations.revisions() == []


def test_former_command_migrate_new_is_accepted(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    schema.metadata = MetaData()
    Table("things", schema.metadata, Column("name", String))
    history.run("migrate", "--new", "add things")
    assert history.migrations.revisions() == ["0001_add_things"]
    assert capsys.readouterr().err.startswith(
        "`migrate --new` is now called `revision -m`; the former name will stop working\n"
    )

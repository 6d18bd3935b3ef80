"""The migrations: how they are written and run, on a history of the tests' own."""

import ast
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, text

from {{ cookiecutter.package_name }} import migrations
from {{ cookiecutter.package_name }}.__main__ import main
from {{ cookiecutter.package_name }}.database import Database
from {{ cookiecutter.package_name }}.environment import BootError
from {{ cookiecutter.package_name }}.models import Base
from {{ cookiecutter.package_name }}.settings import load_settings

STEP = """
from alembic import op

revision, down_revision = {revision!r}, {before!r}


def upgrade() -> None:
    {does}
"""
PARENTS = "CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"
CHILDREN = (
    "CREATE TABLE children (parent INTEGER NOT NULL REFERENCES parents (id) ON DELETE CASCADE)"
)
BATCH = "with op.batch_alter_table('parents') as batch: batch.alter_column('name', nullable=True)"


class History:
    """Migrations in a directory, and a database that is at the newest."""

    def __init__(self, versions: Path, database: Database) -> None:
        self.versions, self.database = versions, database
        database.migrate()

    def add(self, revision: str, *does: str, after: str | None = None) -> None:
        """Add a step, after the newest or another one."""
        before = after or next(reversed(migrations.revisions()), None)
        step = STEP.format(revision=revision, before=before, does="\n    ".join(does) or "pass")
        (self.versions / f"{revision}.py").write_text(step)

    def write(self, message: str, *columns: Column[Any]) -> str:
        """Have a step written that makes a table of these columns, and return its text."""
        Base.metadata = MetaData()
        Table("things", Base.metadata, *columns, sqlite_autoincrement=True)
        self.database.new_migration(message)
        return (self.versions / f"{migrations.revisions()[-1]}.py").read_text()

    def ask(self, statement: str) -> list[Any]:
        """Return the first column of what the database answers."""
        with closing(sqlite3.connect(self.database.path, isolation_level=None)) as connection:
            return [row[0] for row in connection.execute(statement)]


@pytest.fixture
def history(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[History]:
    """A history without a step yet."""
    for name in ("env.py", "script.py.mako"):
        shutil.copy(migrations.VERSIONS.parent / name, tmp_path)
    (tmp_path / "versions").mkdir()
    monkeypatch.setattr(migrations, "VERSIONS", tmp_path / "versions")
    monkeypatch.setattr(Base, "metadata", Base.metadata)  # which the tests replace
    environ["DATABASE_URL"] = f"sqlite:///{tmp_path}/own.sqlite3"
    monkeypatch.setattr("os.environ", environ)
    database = Database(load_settings(environ))
    yield History(tmp_path / "versions", database)
    database.close()


def problems(database: Database) -> str:
    return " ".join(str(problem) for problem in database.problems())


def test_migrations_make_what_the_models_say(environ: dict[str, str]) -> None:
    engine = create_engine(environ["DATABASE_URL"])
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    assert ScriptDirectory(str(migrations.VERSIONS.parent)).get_heads() == [
        migrations.revisions()[-1]
    ]


def test_a_migration_can_be_written(history: History) -> None:
    assert "create_table('things'" in history.write("Things, again!", Column("name", String))
    assert migrations.revisions() == ["0001_things_again"]
    assert problems(history.database).endswith("migrate`")


@pytest.mark.parametrize(
    "message", ['rename "title"', 'no """title"""', "it's C:\\new\\", '"""\nraise SystemExit\n"""']
)
def test_a_message_is_no_code(history: History, message: str) -> None:
    (first, *_) = ast.parse(history.write(message, Column("name", String))).body
    assert isinstance(first, ast.Expr)
    assert ast.literal_eval(first.value) == message
    history.database.migrate()
    assert problems(history.database) == ""


def test_no_migration_is_nothing_to_run(history: History) -> None:
    assert problems(history.database) == ""
    history.database.path.write_bytes(b"")
    assert problems(history.database) == ""


def test_a_table_that_is_copied_takes_nothing_with_it(history: History) -> None:
    """SQLite cannot alter a column: Alembic copies the table and drops the old one."""
    history.add("0001_tables", f"op.execute({PARENTS!r})", f"op.execute({CHILDREN!r})")
    history.database.migrate()
    history.ask("INSERT INTO parents VALUES (1, 'x')")
    history.ask("INSERT INTO children VALUES (1), (1), (1)")
    history.add("0002_nullable", BATCH)
    history.database.migrate()
    assert history.ask("SELECT \"notnull\" FROM pragma_table_info('parents')") == [0, 0]
    assert history.ask("SELECT count(*) FROM children") == [3]
    with history.database.session("POST") as session:
        assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_a_migration_that_leaves_orphans_changes_nothing(history: History) -> None:
    """Nor does any other that was to be run with it."""
    history.add("0001_tables", f"op.execute({PARENTS!r})", f"op.execute({CHILDREN!r})")
    history.database.migrate()
    history.ask("INSERT INTO parents VALUES (1, 'x')")
    history.ask("INSERT INTO children VALUES (1), (1)")
    history.add("0002_nullable", BATCH)
    history.add("0003_orphans", "op.execute('DELETE FROM parents')")
    with pytest.raises(BootError) as caught:
        history.database.migrate()
    (problem,) = caught.value.problems
    assert "rows of children would refer to rows of parents that are not there" in str(problem)
    assert history.ask("SELECT \"notnull\" FROM pragma_table_info('parents')") == [0, 1]
    assert history.ask("SELECT id FROM parents") == [1]
    assert history.ask("SELECT version_num FROM alembic_version") == ["0001_tables"]
    # Those that were there before stop no release that has nothing to migrate.
    (history.versions / "0003_orphans.py").unlink()
    history.database.migrate()
    history.ask("DELETE FROM parents")
    history.database.migrate()


def test_a_table_that_is_copied_never_gives_an_id_again(history: History) -> None:
    history.write("things", Column("id", Integer, primary_key=True))
    history.database.migrate()
    history.ask("INSERT INTO things VALUES (1), (2), (3)")
    history.ask("DELETE FROM things WHERE id > 1")
    name = Column("name", String, nullable=False, server_default="")
    history.write("names", Column("id", Integer, primary_key=True), name)
    history.database.migrate()
    name = Column("name", String)
    written = history.write("names may be absent", Column("id", Integer, primary_key=True), name)
    assert "batch_op.alter_column('name'" in written
    history.database.migrate()
    assert history.ask("SELECT \"notnull\" FROM pragma_table_info('things')") == [1, 0]
    history.ask("INSERT INTO things (name) VALUES (NULL)")
    assert history.ask("SELECT id FROM things") == [1, 4]
    (schema,) = history.ask("SELECT sql FROM sqlite_master WHERE name = 'things'")
    assert "PRIMARY KEY AUTOINCREMENT" in schema
    assert history.ask("SELECT name FROM sqlite_sequence") == ["things"]


@pytest.mark.parametrize("counts", [True, False])
def test_a_migration_may_say_whether_ids_are_given_again(history: History, counts: bool) -> None:
    ids = "INTEGER PRIMARY KEY" if counts else "INTEGER PRIMARY KEY AUTOINCREMENT"
    history.add("0001_tables", f"op.execute('CREATE TABLE things (id {ids})')")
    options = f"recreate='always', table_kwargs=dict(sqlite_autoincrement={counts})"
    history.add("0002_counts", f"with op.batch_alter_table('things', {options}): pass")
    history.database.migrate()
    (schema,) = history.ask("SELECT sql FROM sqlite_master WHERE name = 'things'")
    assert ("AUTOINCREMENT" in schema) == counts


def test_a_newer_database_is_left_as_it_is(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rolling back to this release keeps the tables of the one after it."""
    history.add("0001_tables", f"op.execute({PARENTS!r})")
    history.database.migrate()
    history.ask("UPDATE alembic_version SET version_num = '0002_newer'")
    before = history.ask("SELECT sql FROM sqlite_master")
    assert problems(history.database) == ""
    main(["migrate"])
    (line,) = capsys.readouterr().out.splitlines()
    assert "0002_newer, which this release does not know" in line
    assert history.ask("SELECT sql FROM sqlite_master") == before
    assert history.ask("SELECT version_num FROM alembic_version") == ["0002_newer"]
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["migrate", "--new", "more"])
    assert "0002_newer" in (told := capsys.readouterr().err)
    assert "run `python" not in told


def test_a_database_that_is_behind_gets_no_new_migration(history: History) -> None:
    history.add("0001_tables", f"op.execute({PARENTS!r})")
    with pytest.raises(BootError, match=r"0001_tables is needed: run `python -m \w+ migrate`"):
        history.write("things", Column("name", String))


@pytest.mark.parametrize("command", [["check"], ["migrate"], ["migrate", "--new", "more"]])
@pytest.mark.parametrize("newest", ["0002_b", "0003_b"])
def test_two_migrations_that_follow_the_same(
    history: History, command: list[str], newest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a merge of two branches; and one that was given a new number, but not a new place."""
    history.add("0001_tables", f"op.execute({PARENTS!r})")
    history.database.migrate()
    history.add("0002_a")
    history.add(newest, after="0001_tables")
    with pytest.raises(SystemExit, match=r"^2$"):
        main(command)
    (_, line) = capsys.readouterr().err.splitlines()
    assert f"0002_a and {newest} are both the newest" in line
    assert "down_revision" in line
    assert "run `python" not in line
    assert history.ask("SELECT version_num FROM alembic_version") == ["0001_tables"]
    (history.versions / f"{newest}.py").unlink()
    history.add("0003_b")
    history.database.migrate()
    assert problems(history.database) == ""

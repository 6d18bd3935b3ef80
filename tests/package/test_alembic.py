"""Alembic's own command line, which `[tool.alembic]` of a generated project configures."""

import ast
import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ..support.fixtures import Generate

Alembic = Callable[..., str]


@pytest.fixture
def project(copied: Generate) -> Path:
    return copied(database="sqlite")


@pytest.fixture
def alembic(project: Path) -> Alembic:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["alembic", *arguments],
            cwd=project,
            env={"PATH": os.environ["PATH"], "APP_ENV": "development"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def tables_of(project: Path) -> set[str]:
    with closing(sqlite3.connect(project / "my-service.sqlite3")) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}


def test_history_lists_the_revisions(alembic: Alembic) -> None:
    assert "<base> -> 0001_notes (head), The notes." in alembic("history")


def test_upgrade_and_downgrade_change_the_tables(project: Path, alembic: Alembic) -> None:
    assert "0001_notes" not in alembic("current")
    alembic("upgrade", "head")
    assert "0001_notes (head)" in alembic("current")
    assert "notes" in tables_of(project)
    alembic("downgrade", "base")
    assert "notes" not in tables_of(project)


def test_sql_of_an_upgrade_is_printed(project: Path, alembic: Alembic) -> None:
    assert "CREATE TABLE notes" in alembic("upgrade", "head", "--sql")
    assert "notes" not in tables_of(project)


def test_stamp_is_recorded(project: Path, alembic: Alembic) -> None:
    alembic("stamp", "head")
    with closing(sqlite3.connect(project / "my-service.sqlite3")) as connection:
        assert list(connection.execute("SELECT applied FROM alembic_version")) == [("0001_notes",)]


def test_revision_is_numbered_and_written_for_changed_models(
    project: Path, alembic: Alembic
) -> None:
    alembic("upgrade", "head")
    models = project / "src" / "my_service" / "models.py"
    models.write_text(f"{models.read_text()}    colour: Mapped[str | None]\n")
    alembic("revision", "--autogenerate", "-m", "Add a colour")
    written = project / "src/my_service/migrations/versions/0002_add_a_colour.py"
    assert "batch_op.add_column(sa.Column('colour'" in written.read_text()
    assert ast.get_docstring(ast.parse(written.read_text())) == "Add a colour."
    alembic("upgrade", "head")
    assert "0002_add_a_colour (head)" in alembic("current")


def test_empty_revision_is_numbered(project: Path, alembic: Alembic) -> None:
    alembic("revision", "-m", "Fill the colours")
    assert (project / "src/my_service/migrations/versions/0002_fill_the_colours.py").exists()

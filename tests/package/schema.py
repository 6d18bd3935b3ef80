"""Migrations of the tests' own: a copy of the template's, without its revisions."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from bottle import HTTPResponse
from sqlalchemy import MetaData, text
from sqlalchemy.orm import Session

from . import SOURCES

MIGRATIONS = "migrations"
# The tables that migrations are written for; the tests replace them.
metadata = MetaData()
# Statements on the table `things`, and whether they fail because of a missing table or column.
MISSING_PARTS = [
    ("SELECT * FROM missing", True),
    ("SELECT missing FROM things", True),
    ("INSERT INTO things (missing) VALUES (1)", True),
    ("SELEC", False),
]
_TEMPLATE = SOURCES / "{{cookiecutter.package_name}}" / MIGRATIONS


ENV = """
from bottle_service.database.migrations import run_alembic
from tests.package import schema

run_alembic(schema.metadata, lambda: None)
"""


def copy_migrations(directory: Path) -> Path:
    """Copy the directory `migrations` without revisions, and return the one of the revisions."""
    versions = directory / MIGRATIONS / "versions"
    versions.mkdir(parents=True)
    shutil.copy(_TEMPLATE / "script.py.mako", versions.parent)
    (versions.parent / "env.py").write_text(ENV)
    return versions


def stream_of_a_closed_session(session: Session) -> HTTPResponse:
    """Return a response whose body uses the session after the handler has returned."""

    def numbers() -> Iterator[str]:
        yield from map(str, session.scalars(text("SELECT 1")))

    return HTTPResponse(numbers())

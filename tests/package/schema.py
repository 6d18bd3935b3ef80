"""Migrations of the tests' own: a copy of the template's, without its revisions."""

import shutil
from pathlib import Path

from sqlalchemy import MetaData

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

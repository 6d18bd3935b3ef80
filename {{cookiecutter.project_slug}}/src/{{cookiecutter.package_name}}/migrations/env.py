"""Alembic runs this file for each of its commands."""

import os

from bottle_service.database.migrations import run_alembic

from {{ cookiecutter.package_name }}.app import open_database
from {{ cookiecutter.package_name }}.models import Base
from {{ cookiecutter.package_name }}.settings import Settings

run_alembic(Base.metadata, lambda: open_database(Settings.load(os.environ)).migrating())

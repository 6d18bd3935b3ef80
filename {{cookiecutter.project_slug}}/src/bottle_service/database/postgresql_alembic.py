"""Alembic's options for PostgreSQL.

Alembic is slow to import, so only `run_alembic` imports this module.
"""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

__all__ = ["OPTIONS", "begin"]

# Each migration has its own transaction, which `autocommit_block` can leave, as it must for
# CREATE INDEX CONCURRENTLY.
OPTIONS = {"transaction_per_migration": True}


def begin(connection: Connection) -> Callable[[Path], None]:
    """End the transaction of earlier queries, because Alembic would take it for the caller's.

    Returns a function to call after each migration; here it has nothing to check.
    """
    connection.rollback()
    return lambda _migration: None

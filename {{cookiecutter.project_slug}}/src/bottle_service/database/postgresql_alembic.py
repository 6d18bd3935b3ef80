"""Alembic's options for PostgreSQL, and a correction of its comparison of defaults.

Alembic is slow to import, so only `run_alembic` imports this module.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic.ddl.postgresql import PostgresqlImpl
from alembic.operations.ops import OpContainer
from sqlalchemy import Connection, MetaData, literal_column, select

__all__ = ["OPTIONS", "begin", "complete"]

# Each migration has its own transaction, which `autocommit_block` can leave, as it must for
# CREATE INDEX CONCURRENTLY.
OPTIONS = {"transaction_per_migration": True}


def begin(connection: Connection) -> Callable[[Path], None]:
    """End the transaction of earlier queries, because Alembic would take it for the caller's.

    Returns a function to call after each migration; here it has nothing to check.
    """
    connection.rollback()
    return lambda _migration: None


def complete(_operations: OpContainer, _connection: Connection, _metadata: MetaData) -> None:
    """Add nothing: PostgreSQL drops the constraints of a column with it."""


class QuotingPostgresqlImpl(PostgresqlImpl):
    """Alembic's PostgreSQL with quotes in the texts of defaults."""

    __dialect__ = "postgresql"  # replaces Alembic's own

    def compare_server_default(
        self,
        inspector_column: Any,
        metadata_column: Any,
        rendered_metadata_default: str | None,
        rendered_inspector_default: str | None,
    ) -> bool:
        """Return whether the defaults differ. Alembic would send a text with a quote unescaped."""
        text = getattr(metadata_column.server_default, "arg", None)
        if rendered_inspector_default and isinstance(text, str) and "'" in text:
            dialect: Any = self.dialect
            compiler = dialect.ddl_compiler(dialect, None)
            default: Any = literal_column(compiler.get_column_default_string(metadata_column))
            equal = select(literal_column(rendered_inspector_default) == default)
            return not (self.connection and self.connection.scalar(equal))
        alembic: Any = super()
        changed: bool = alembic.compare_server_default(
            inspector_column, metadata_column, rendered_metadata_default, rendered_inspector_default
        )
        return changed

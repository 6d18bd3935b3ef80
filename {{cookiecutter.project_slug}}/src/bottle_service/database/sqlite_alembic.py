"""Alembic's options for SQLite, and how Alembic compares its tables with models.

Alembic is slow to import, so only `run_alembic` imports this module.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations.ops import DropColumnOp, DropConstraintOp, ModifyTableOps
from sqlalchemy import (
    CheckConstraint,
    Connection,
    ForeignKeyConstraint,
    MetaData,
    Table,
    UniqueConstraint,
)
from sqlalchemy.sql.elements import conv

from .autogenerate import name_constraint
from .lost_parts import LossGuard, names_in

__all__ = ["OPTIONS", "begin"]

# SQLite cannot alter a column: Alembic copies the table.
OPTIONS = {"render_as_batch": True}

_render_table = renderers.dispatch(ModifyTableOps("", []))


def begin(connection: Connection) -> Callable[[Path], None]:
    """Return a function to call after each migration: it raises StartupError for lost parts."""
    return LossGuard(connection).check


@renderers.dispatch_for(ModifyTableOps, replace=True)
def _render_modified_table(context: AutogenContext, table: ModifyTableOps) -> Sequence[str]:
    """Let a batch drop the CHECKs of its columns, and find constraints without a name."""
    checks = dict.fromkeys(_checks_of_dropped_columns(context, table))
    table.ops[:0] = [DropConstraintOp(conv(check), table.table_name, "check") for check in checks]
    lines = list(_render_table(context, table))
    if any(isinstance(operation, DropConstraintOp) for operation in table.ops):
        context.imports.add(f"from {__package__} import NAMING_CONVENTION")
        lines[0] = lines[0].replace("schema=None", "naming_convention=NAMING_CONVENTION")
    return lines


def _checks_of_dropped_columns(context: AutogenContext, table: ModifyTableOps) -> Iterator[str]:
    """Yield the names of CHECKs that the copy of the table would keep, without their column.

    They are those of the database and, where the column is not there yet, that of its type.
    """
    dropped = [operation for operation in table.ops if isinstance(operation, DropColumnOp)]
    metadata: Any = context.metadata
    dialect: Any = context.dialect
    for operation in dropped:
        for check in context.inspector.get_check_constraints(table.table_name):
            if check["name"] and operation.column_name in names_in(check["sqltext"]):
                yield check["name"]
        kind: Any = operation.to_column().type
        if getattr(kind, "create_constraint", False) and kind.name:  # Enum or Boolean
            own = CheckConstraint("", name=kind.name)
            Table(table.table_name, MetaData(naming_convention=metadata.naming_convention), own)
            yield dialect.identifier_preparer.format_constraint(own).strip('"')


class ConventionalSQLiteImpl(SQLiteImpl):
    """Alembic's SQLite with names for constraints, and with a better comparison of defaults."""

    __dialect__ = "sqlite"  # replaces Alembic's own

    def correct_for_autogen_constraints(
        self,
        conn_unique_constraints: Iterable[UniqueConstraint],
        conn_indexes: Any,
        metadata_unique_constraints: Any,
        metadata_indexes: Any,
    ) -> None:
        """Name the constraints of the database, or Alembic does not see that one is dropped."""
        alembic: Any = super()
        alembic.correct_for_autogen_constraints(
            conn_unique_constraints, conn_indexes, metadata_unique_constraints, metadata_indexes
        )
        for constraint in conn_unique_constraints:
            name_constraint(constraint)

    def correct_for_autogen_foreignkeys(
        self, conn_fks: set[ForeignKeyConstraint], metadata_fks: Any
    ) -> None:
        """Name the foreign keys of the database."""
        super().correct_for_autogen_foreignkeys(conn_fks, metadata_fks)
        for constraint in conn_fks:
            name_constraint(constraint)

    def compare_server_default(
        self,
        inspector_column: Any,
        metadata_column: Any,
        rendered_metadata_default: str | None,
        rendered_inspector_default: str | None,
    ) -> bool:
        """Return whether the defaults differ, as SQL.

        Alembic would take an empty text, and one with a quote, for changed.
        """
        dialect: Any = self.dialect
        compiler = dialect.ddl_compiler(dialect, None)
        default = compiler.get_column_default_string(metadata_column)
        return _literal(default) != _literal(rendered_inspector_default)


def _literal(sql: str | None) -> str | None:
    """Return the SQL of a default without the parentheses and quotes around it."""
    while sql and sql.startswith("(") and sql.endswith(")"):
        sql = sql[1:-1].strip()
    if sql and re.fullmatch("'.*'", sql, re.DOTALL):
        return sql[1:-1].replace("''", "'")
    return sql

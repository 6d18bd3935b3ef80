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
from alembic.operations.ops import DropColumnOp, DropConstraintOp, ModifyTableOps, OpContainer
from sqlalchemy import (
    CheckConstraint,
    Connection,
    ForeignKeyConstraint,
    MetaData,
    Numeric,
    Table,
    UniqueConstraint,
    inspect,
)
from sqlalchemy.sql.elements import conv

from ..startup import StartupError, StartupProblem
from .autogenerate import name_constraint
from .lost_parts import LossGuard, names_in

__all__ = ["OPTIONS", "begin", "complete"]

# SQLite cannot alter a column: Alembic copies the table.
OPTIONS = {"render_as_batch": True}

_render_table = renderers.dispatch(ModifyTableOps("", []))


def begin(connection: Connection) -> Callable[[Path], None]:
    """Return a function to call after each migration: it raises StartupError for lost parts."""
    return LossGuard(connection).check


def complete(operations: OpContainer, connection: Connection, metadata: MetaData) -> None:
    """Let each batch that drops a column also drop its CHECKs, which the copy would keep.

    Raises StartupError for columns of the models whose values SQLite would change.
    """
    if inexact := [*_inexact_columns(metadata)]:
        raise StartupError(inexact)
    for table in operations.ops:
        if isinstance(table, ModifyTableOps):
            dropped = [one for one in table.ops if isinstance(one, DropColumnOp)]
            names = [name for one in dropped for name in _checks_of(one, connection, metadata)]
            table.ops[:0] = [
                DropConstraintOp(conv(name), table.table_name, "check")
                for name in dict.fromkeys(names)
            ]


def _inexact_columns(metadata: MetaData) -> Iterator[StartupProblem]:
    for table in metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, Numeric) and column.type.asdecimal:
                reason = (
                    f"SQLite stores the Decimals of {column} as floats, and changes large ones: "
                    "import ExactDecimal of bottle_service.database.types, and use it in place of "
                    "Numeric, as in `mapped_column(ExactDecimal(12, 2))`"
                )
                yield StartupProblem("", reason, "models.py")


def _checks_of(
    operation: DropColumnOp, connection: Connection, metadata: MetaData
) -> Iterator[str]:
    """Yield the names of the column's CHECKs in the database, or of its type if it is not there yet."""
    for check in inspect(connection).get_check_constraints(operation.table_name):
        if check["name"] and operation.column_name in names_in(check["sqltext"]):
            yield check["name"]
    kind: Any = operation.to_column().type
    if getattr(kind, "create_constraint", False) and kind.name:  # Enum or Boolean
        own = CheckConstraint("", name=kind.name)
        Table(operation.table_name, MetaData(naming_convention=metadata.naming_convention), own)
        preparer = connection.dialect.identifier_preparer
        yield str(preparer.format_constraint(own)).strip('"')


@renderers.dispatch_for(ModifyTableOps, replace=True)
def _render_modified_table(context: AutogenContext, table: ModifyTableOps) -> Sequence[str]:
    """Let a batch that drops constraints find those that the database has without a name."""
    lines = list(_render_table(context, table))
    if any(isinstance(operation, DropConstraintOp) for operation in table.ops):
        context.imports.add(f"from {__package__} import NAMING_CONVENTION")
        lines[0] = lines[0].replace("schema=None", "naming_convention=NAMING_CONVENTION")
    return lines


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

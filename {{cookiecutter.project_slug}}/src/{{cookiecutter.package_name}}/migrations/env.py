"""Run by Alembic for each of its commands."""

from alembic import context, op
from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations.batch import ApplyBatchImpl
from sqlalchemy import Table, text

COUNTS = "SELECT 1 FROM sqlite_master WHERE name = :old AND sql LIKE '%PRIMARY KEY%AUTOINCREMENT%'"
GO_ON = "INSERT INTO sqlite_sequence SELECT :new, seq FROM sqlite_sequence WHERE name = :old"


class KeepAutoincrement(SQLiteImpl):
    """SQLite, where the copy of a table gives no id again either: Alembic sees no AUTOINCREMENT."""

    __dialect__ = "sqlite"  # from here on Alembic takes this class for it

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: Table) -> None:
        new, execute = batch_impl.new_table, op.get_bind().execute
        names = {"old": table.name, "new": batch_impl.temp_table_name}
        wanted = batch_impl.table_kwargs.get("sqlite_autoincrement", True)
        if new is not None and wanted and execute(text(COUNTS), names).first():
            new.dialect_kwargs["sqlite_autoincrement"] = True
            execute(text(GO_ON), names)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["metadata"],
    # SQLite cannot alter a column: Alembic copies the table instead.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

"""The database: transactions for requests, column types and migrations."""

__all__ = ["NAMING_CONVENTION"]

# A migration can drop a constraint only by its name, so none may be without one
# (https://alembic.sqlalchemy.org/en/latest/naming.html). "ix" is SQLAlchemy's own.
NAMING_CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
}

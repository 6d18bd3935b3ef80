"""How Alembic writes types and constraints.

Alembic is slow to import, so only `run_alembic` imports this module.
"""

from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from sqlalchemy import ForeignKeyConstraint, UniqueConstraint

from . import NAMING_CONVENTION

__all__ = ["name_constraint", "name_new_constraint", "render_item"]


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Render a column type of the service's own with its import, which Alembic leaves out."""
    module = type(item).__module__
    if kind != "type" or module.startswith("sqlalchemy."):
        return False
    context.imports.add(f"from {module} import {type(item).__name__}")
    return repr(item)


def name_new_constraint(
    item: Any, _name: str | None, _kind: str, reflected: bool, _compared: Any
) -> bool:
    """Include each item; name a constraint of models whose metadata has no naming convention."""
    if not reflected and isinstance(item, UniqueConstraint | ForeignKeyConstraint):
        name_constraint(item)
    return True


def name_constraint(constraint: UniqueConstraint | ForeignKeyConstraint) -> None:
    """Give a constraint without a name that of NAMING_CONVENTION."""
    if isinstance(constraint.name, str):
        return
    kind, referred = "uq", ""
    if isinstance(constraint, ForeignKeyConstraint):
        kind, referred = "fk", constraint.elements[0].target_fullname.rpartition(".")[0]
    constraint.name = NAMING_CONVENTION[kind] % {
        "table_name": constraint.table.name,
        "column_0_N_name": "_".join(column.name for column in constraint.columns),
        "referred_table_name": referred,
    }

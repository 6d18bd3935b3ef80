"""A version for each row, so that no change of another request is lost."""

import secrets
from typing import Any, ClassVar

from sqlalchemy.orm import Mapped, mapped_column

__all__ = ["Versioned"]


def _new_version(_previous: str | None) -> str:
    return secrets.token_hex(8)


class Versioned:
    """Mixin of a model: each UPDATE sets a new `version`, and also each DELETE compares it.

    If another transaction has changed the row since it was read, SQLAlchemy raises StaleDataError,
    and the response is 412. An UPDATE without a change does not happen, and keeps the version.

    Versions are random, not counted: SQLite uses the ID of a deleted row again, and a backup that is
    restored counts again, but an entity tag must never name two contents.
    https://docs.sqlalchemy.org/en/20/orm/versioning.html
    """

    # Rows that are older than this column have the default until they are changed.
    version: Mapped[str] = mapped_column(server_default="1")
    __mapper_args__: ClassVar[dict[str, Any]] = {
        "version_id_col": version,
        "version_id_generator": _new_version,
    }

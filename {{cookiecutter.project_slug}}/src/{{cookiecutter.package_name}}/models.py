"""The tables of the database. After a change: `make migration MESSAGE="what has changed"`.

The module bottle_service.database.types has `UtcDateTime` for times, `ExactDecimal` for amounts.
"""

from datetime import datetime

# <% if cookiecutter.database == "postgresql" %>
from sqlalchemy import BigInteger, Identity, MetaData
# <% else %>
from sqlalchemy import MetaData
# <% endif %>
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bottle_service.database import NAMING_CONVENTION
from bottle_service.database.idempotency import IdempotencyKeys
from bottle_service.database.types import UtcDateTime
from bottle_service.database.versioned import Versioned


class Base(DeclarativeBase):
    """The metadata of all tables."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    # <% if cookiecutter.database == "postgresql" %>
    # 64 bits, as in URLs and bodies; SQLAlchemy's INTEGER has 32.
    type_annotation_map = {int: BigInteger}  # noqa: RUF012
    # <% endif %>


# The responses of routes with the option `idempotent`.
idempotency_keys = IdempotencyKeys(Base.metadata)


class Note(Versioned, Base):
    __tablename__ = "notes"

    # <% if cookiecutter.database == "postgresql" %>
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    # <% else %>
    id: Mapped[int] = mapped_column(primary_key=True)
    # <% endif %>
    title: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)

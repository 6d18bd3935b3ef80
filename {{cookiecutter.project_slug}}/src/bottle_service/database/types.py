"""Column types."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import DateTime, Dialect, Numeric, TypeDecorator

__all__ = ["ExactDecimal", "UtcDateTime"]


class ExactDecimal(TypeDecorator[Decimal]):
    """A Decimal of at most `precision` digits, of which `scale` follow the point.

    A value with more digits is refused: the response is 422. `Numeric` would change it silently:
    SQLite stores a float, and PostgreSQL rounds. The table has the same column as with `Numeric`, so
    a change of the type in models.py needs no migration.

    A float holds 15 digits exactly (https://www.sqlite.org/floatingpoint.html), so stored values are
    equal to what was written and sort rightly. SQLite computes with floats: compute in Python, or
    round in SQL, as in `func.round(Account.balance + amount, 2)`. For more digits, store an integer
    of the smallest unit.

    Raises ValueError for a precision above 15, or a scale that is not between 0 and the precision.
    """

    impl = Numeric
    cache_ok = True

    def __init__(self, precision: int, scale: int) -> None:
        if not 0 <= scale <= precision <= 15:
            raise ValueError("ExactDecimal: 0 <= scale <= precision <= 15 is required")
        super().__init__(precision, scale)
        self.precision, self.scale = precision, scale

    def __repr__(self) -> str:
        return f"ExactDecimal({self.precision}, {self.scale})"  # in migrations

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name == "sqlite":
            return Numeric(self.precision, self.scale, asdecimal=False)
        return Numeric(self.precision, self.scale)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Return the type of a value that a query compares or computes with: any number."""
        return self.impl_instance.coerce_compared_value(op, value)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        exact = value if isinstance(value, Decimal) else Decimal(str(value))
        # Checked first, because round() raises for NaN and for more than 28 digits.
        fits = exact.is_finite() and abs(exact) < 10 ** (self.precision - self.scale)
        if not fits or (rounded := round(exact, self.scale)) != exact:
            raise OverflowError(f"the value has more digits than {self!r}")
        return rounded

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        # SQLite returns a float, or an integer.
        return None if value is None else Decimal(f"{value:.{self.scale}f}")


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC.

    SQLite stores no time zone: the value is UTC. PostgreSQL stores the moment, and returns it in the
    time zone of the session.

    Raises ValueError for a time without a time zone, which Python would read as local time.
    SQLAlchemy wraps it in a StatementError.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def __repr__(self) -> str:
        return "UtcDateTime()"  # in migrations

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            reason = f"{value.isoformat()} has no time zone; use a time such as datetime.now(UTC)"
            raise ValueError(f"UtcDateTime: {reason}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)

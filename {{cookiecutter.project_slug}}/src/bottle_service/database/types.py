"""Column types."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, TypeDecorator

__all__ = ["UtcDateTime"]


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

"""Pages of a list, by the key of the last row: as fast at the end of a table as at its begin."""

from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

__all__ = ["Page", "read_page"]

Row = TypeVar("Row")


class Page(NamedTuple, Generic[Row]):
    """Rows of a list; `next` is the `after` of the next page, None on the last page."""

    items: list[Row]
    next: Any


def read_page(
    session: Session,
    query: Select[Row],
    *,
    by: InstrumentedAttribute[Any] | tuple[InstrumentedAttribute[Any], ...],
    after: Any,
    limit: int,
    descending: bool = False,
) -> Page[Row]:
    """Return at most `limit` rows whose key is greater than `after`, in the order of the key.

    `by` is the key: an attribute of the model, or several, which together are unique and have an
    index. `after` is a value, or one for each attribute; None starts at the begin. `descending`
    reverses the order.

    Several attributes are compared as row values. A database cannot use an index for the equal
    `a > x OR (a = x AND b > y)`, and reads all rows before those of an OFFSET.
    """
    columns = by if isinstance(by, tuple) else (by,)
    if after is not None:
        key: Any = tuple_(*columns) if isinstance(by, tuple) else by
        query = query.where(key < after if descending else key > after)
    order = [column.desc() for column in columns] if descending else columns
    rows = session.scalars(query.order_by(*order).limit(limit + 1)).all()
    items = list(rows[:limit])
    if len(rows) <= limit:
        return Page(items, None)
    last = tuple(getattr(items[-1], column.key) for column in columns)
    return Page(items, last if isinstance(by, tuple) else last[0])

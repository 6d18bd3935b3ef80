"""Writes that contradict other rows: the problems of a client, and not of the service."""

from collections.abc import Sequence

from ..http.problems import FieldError, Problem

__all__ = ["changed_meanwhile", "missing_reference", "taken"]


def taken(fields: Sequence[str]) -> Problem:
    """Return the 409 for values that another row has already, in the columns `fields`."""
    names = " and ".join(fields)
    detail = f"There is another one with this {names}." if names else "There is one already."
    return Problem(409, detail, errors=[FieldError(f"/{name}", "is taken") for name in fields])


def missing_reference() -> Problem:
    """Return the 409 for a row that refers to a missing one, or that others refer to."""
    return Problem(409, "This refers to something that does not exist, or is referred to itself.")


def changed_meanwhile() -> Problem:
    """Return the 412 for a row whose version is another one: SQLAlchemy's StaleDataError."""
    return Problem(412, "This was changed by another request at the same time: read it again.")

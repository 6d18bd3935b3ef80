"""Responses to expected failures of a database."""

import logging
from typing import Any

from ..http.problems import Problem

__all__ = [
    "changed_meanwhile",
    "explain_missing_part",
    "handle_unstorable_value",
    "missing_reference",
    "unavailable",
    "unstorable",
]

logger = logging.getLogger(__name__)


def unavailable(detail: str, retry_after: int, cause: str = "") -> Problem:
    """Return a 503. Its one log line ends with the cause, which clients do not read."""
    problem = Problem(503, detail, headers={"Retry-After": str(retry_after)})
    if cause:
        problem.body = f"{detail} {cause}"
    return problem


def missing_reference() -> Problem:
    """Return a 409 for a row that refers to a missing one, or that other rows refer to."""
    return Problem(409, "Another item refers to this one, or one that this refers to is gone.")


def changed_meanwhile() -> Problem:
    """Return a 412 for SQLAlchemy's StaleDataError: the row has another version than was read."""
    return Problem(412, "This was changed by another request at the same time: read it again.")


def unstorable(cause: str) -> Problem:
    """Return a 422 for a value that its column cannot store, and log the cause."""
    logger.warning("the type of the request should have rejected a value (%s)", cause)
    return Problem(422, "A value cannot be stored.")


def handle_unstorable_value(context: Any) -> Problem | None:
    """Return a 422 for an exception that a driver, or the type of a column, raises for a value.

    A listener of SQLAlchemy's event `handle_error`, so that exceptions of handlers do not count.
    """
    error = context.original_exception
    # A number or time out of range; a lone surrogate, which UTF-8 lacks.
    if isinstance(error, OverflowError | UnicodeEncodeError):
        return unstorable(type(error).__name__)
    return None


def explain_missing_part(error: Exception) -> None:
    """Add the commands that create a missing table or column, below the traceback in the log."""
    error.add_note(
        "The database lacks a table or column of the code. If models.py has changed, "
        '`make migration MESSAGE="…"` writes a migration, and `make migrate` applies it. '
        "On a host, deploy/install.sh applies the migrations of a release with `migrate`."
    )

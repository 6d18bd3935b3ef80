"""Responses to expected failures of a database."""

from ..http.problems import Problem

__all__ = [
    "changed_meanwhile",
    "explain_missing_part",
    "missing_reference",
    "unavailable",
]


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


def explain_missing_part(error: Exception) -> None:
    """Add the commands that create a missing table or column, below the traceback in the log."""
    error.add_note(
        "The database lacks a table or column of the code. If models.py has changed, "
        '`make migration MESSAGE="…"` writes a migration, and `make migrate` applies it. '
        "On a host, deploy/install.sh applies the migrations of a release with `migrate`."
    )

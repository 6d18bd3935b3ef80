"""Responses to expected failures of a database."""

from collections.abc import Iterable

from ..http.problems import FieldError, Problem

__all__ = ["conflict", "unavailable"]


def unavailable(detail: str, retry_after: int, cause: str = "") -> Problem:
    """Return a 503. Its one log line ends with the cause, which clients do not read."""
    problem = Problem(503, detail, headers={"Retry-After": str(retry_after)})
    if cause:
        problem.body = f"{detail} {cause}"
    return problem


def conflict(columns: Iterable[str]) -> Problem:
    """Return a 409 that names the columns of a unique constraint as fields of the request.

    The driver's text is not sent, because it quotes values of other rows.
    """
    names = list(columns)
    fields = " and ".join(names)
    detail = f"Another item has this {fields}." if fields else "Such an item exists already."
    errors = [FieldError(f"/{name}", "must be unique") for name in names]
    return Problem(409, detail, errors=errors)

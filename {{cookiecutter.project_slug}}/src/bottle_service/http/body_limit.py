"""Limit of a request body: MAX_BODY_BYTES, or the option `max_body` of its route."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from bottle import Bottle, Route, request

from .problems import Problem

__all__ = ["LARGEST", "BodyLimitPlugin", "largest_body", "too_large"]

LARGEST = 2**30


def too_large(limit: int) -> Problem:
    """Return the error response to a body above the limit."""
    return Problem(413, f"The body is larger than {limit} bytes.")


def largest_body(app: Bottle, default: int) -> int:
    """Return the size in bytes that some route accepts; `default` is for routes without an option.

    A size of another type is ignored: BodyLimitPlugin rejects it.
    """
    limits = [route.config.get("max_body") for route in app.routes]
    return max(default, *(limit for limit in limits if isinstance(limit, int)), 0)


class BodyLimitPlugin:
    """Bottle plugin that rejects a body above its route's limit with 413.

    SanitizeRequestMiddleware has already checked the largest limit of all routes, so only a route
    with a lower one is wrapped.
    """

    name = "body-limit"
    api = 2

    def __init__(self, default: int) -> None:
        self._default = default

    def setup(self, app: Bottle) -> None:
        """Remember the application, as Bottle's plugins do; its routes are added later."""
        self._app = app

    @cached_property
    def _largest(self) -> int:
        return largest_body(self._app, self._default)

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        limit = route.config.get("max_body", self._default)
        if type(limit) is not int or not 1 <= limit <= LARGEST:
            raise TypeError(f"max_body={limit!r} is not a number of bytes from 1 to {LARGEST}")
        if limit == self._largest:
            return callback

        def call(**arguments: Any) -> Any:
            if int(request.environ.get("CONTENT_LENGTH") or 0) > limit:
                raise too_large(limit)
            return callback(**arguments)

        return call

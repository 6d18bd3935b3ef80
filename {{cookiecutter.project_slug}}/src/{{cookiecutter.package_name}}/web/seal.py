"""What is checked once all routes are there, so that no request is the first to find it out."""

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import bottle
from bottle import Bottle

from ..environment import BootError, Problem
from .confine import patched_too_late


def seal(app: Bottle) -> None:
    """Prepare every route and let none be added afterwards.

    Raises BootError with all that is wrong with the routes.
    """
    if problems := list(_problems(app)):
        raise BootError(problems)
    for name in ("add_route", "add_hook", "install", "uninstall", "mount", "merge"):
        setattr(app, name, _sealed)


def _problems(app: Bottle) -> Iterator[Problem]:
    seen: dict[tuple[str, str], str] = {}
    for route in app.routes:
        place = f"{route.method} {route.rule}"
        # Of two equal rules Bottle takes the last, of two that match the first, without a word.
        shape = re.sub(r"<[^>:]*", "<", route.rule)
        hiding = {shape, re.sub(r"<(?![^>]*:path>)[^>]*", "<", route.rule)}
        if "<" in shape:  # a rule without wildcards comes before all others
            hiding |= {f"{shape[: slash.end()]}<:path>" for slash in re.finditer("/", shape)}
        for other in hiding:
            if hides := seen.get((route.method, other)):
                yield Problem("", f"is hidden by {hides}", place)
        seen[route.method, shape] = place
        try:
            # Left to itself Bottle prepares a route at its first request, once in each thread.
            route.prepare()
        except Exception as error:  # of the planning itself, or of an annotation's reader
            yield Problem("", str(error), place)
    for application in list(bottle.app):
        for route in application.routes:
            reason = "is on Bottle's global application; add it to the routing table"
            yield Problem("", reason, f"{route.method} {route.rule}")
    if patched_too_late():
        yield Problem("", "has patched threads after Bottle was imported; patch first", "gevent")


def _sealed(*_arguments: Any, **_options: Any) -> NoReturn:
    # A route added while requests are served makes Bottle answer 404 to some of them.
    raise RuntimeError("the application is sealed: add routes, hooks and plugins before it starts")

"""The layers of web/ round routes of the tests' own."""

from collections.abc import Callable
from typing import Any

import pytest
from bottle import Bottle
from webtest import TestApp

from {{ cookiecutter.package_name }}.environment import BootError
from {{ cookiecutter.package_name }}.settings import VIEWS_DIRECTORY
from {{ cookiecutter.package_name }}.web.application import new_application
from {{ cookiecutter.package_name }}.web.observe import Exchange
from {{ cookiecutter.package_name }}.web.problems import ProblemPages
from {{ cookiecutter.package_name }}.web.views import Views

Routes = Callable[[Bottle], None]


class Recorder:
    """Keeps the exchanges that have ended."""

    def __init__(self, seen: list[Exchange]) -> None:
        self.end = seen.append

    def begin(self) -> None: ...


def build(add_routes: Routes, seen: list[Exchange] | None = None, **options: Any) -> Bottle:
    settings: dict[str, Any] = {
        "resources": {"number": 7},
        "caller_name": lambda token: token if token == "good" else None,
        "pages": ProblemPages(Views(VIEWS_DIRECTORY, asset=str), hints=True),
        "admin_name": None,
        "recorders": [Recorder(seen)] if seen is not None else [],
        "cors_origins": [],
        "trusted_proxies": 0,
        "max_body_bytes": 200_000,
    }
    return new_application(add_routes, **{**settings, **options})


def public(
    app: Bottle, rule: str, handler: Any, method: str | list[str] = "GET", **options: Any
) -> None:
    app.route(rule, method, handler, public=True, **options)


def client(add_routes: Routes, **options: Any) -> TestApp:
    return TestApp(build(add_routes, **options))


def refused(add_routes: Routes) -> str:
    with pytest.raises(BootError) as caught:
        build(add_routes)
    return str(caught.value)


def status_of(app: TestApp, path: str = "/", **changes: Any) -> int:
    """Send what WebTest itself would put right, and return the answer's status."""
    environ = {**app.RequestClass.blank("/", method="POST").environ, "PATH_INFO": path, **changes}
    answered: list[str] = []
    b"".join(app.app(environ, lambda status, *_: answered.append(status)))
    return int(answered[0][:3])

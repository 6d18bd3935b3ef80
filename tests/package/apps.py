"""Applications of the tests' own routes, with all the middleware around them."""

from collections.abc import Callable
from typing import Any

import pytest
from bottle import Bottle
from webtest import TestApp

from bottle_service.http import build_http_application
from bottle_service.http.problems import ProblemRenderer
from bottle_service.http.routing import ServiceBottle
from bottle_service.startup import StartupError
from bottle_service.telemetry.exchange import Exchange
from bottle_service.views import Views

from .sample import app as sample

STATIC = sample.DIRECTORY / "static"
VIEWS = sample.DIRECTORY / "views"
TOKEN = "good"

# A method or a list of methods, a rule, a handler, and the route's options: public by default.
Route = (
    tuple[str | list[str], str, Callable[..., Any]]
    | tuple[str | list[str], str, Callable[..., Any], dict[str, Any]]
)


class Exchanges(list[Exchange]):
    """Recorder that keeps the exchanges in the order of their end."""

    def request_started(self) -> None:
        """Do nothing: an exchange is kept when it has finished."""

    def request_finished(self, exchange: Exchange) -> None:
        self.append(exchange)


def build_app(*routes: Route, **settings: Any) -> ServiceBottle:
    """Return an application with these routes; `settings` replace those of the tests."""

    def add_routes(app: Bottle) -> None:
        for method, rule, handler, *options in routes:
            app.route(rule, method, handler, **{"public": True, **dict(*options)})

    defaults: dict[str, Any] = {
        "add_routes": add_routes,
        "dependencies": {"number": 7},
        "authenticate_client": lambda token: "tester" if token == TOKEN else None,
        "authenticate_admin": None,
        "problem_renderer": ProblemRenderer(Views(VIEWS, asset=str), hints=True),
        "recorders": [],
        "cors_origins": [],
        "trusted_proxy_count": 0,
        "max_body_bytes": 200_000,
    }
    return build_http_application(**{**defaults, **settings})


def client_for(*routes: Route, **settings: Any) -> TestApp:
    """Return a client of an application with these routes."""
    return TestApp(build_app(*routes, **settings))


def startup_errors(*routes: Route, **settings: Any) -> str:
    """Return the problems of routes with which an application does not start."""
    with pytest.raises(StartupError) as caught:
        build_app(*routes, **settings)
    return str(caught.value)


def raw_response(
    client: TestApp, path: str = "/", **environ: Any
) -> tuple[int, list[tuple[str, str]]]:
    """Return status and headers of the response to a request that WebTest would repair."""
    environ = {
        **client.RequestClass.blank("/", method="POST").environ,
        "PATH_INFO": path,
        **environ,
    }
    started: list[tuple[str, list[tuple[str, str]]]] = []
    b"".join(client.app(environ, lambda status, headers, *_: started.append((status, headers))))
    status, headers = started[-1]
    return int(status[:3]), headers


def raw_status(client: TestApp, path: str = "/", **environ: Any) -> int:
    """Return the status of the response to a request that WebTest would repair."""
    return raw_response(client, path, **environ)[0]

"""The service with routes of the tests, so that no test calls a route of yours for its own purpose.

`pytest --server tcp` and `pytest --server unix` start it. To run the tests through Nginx, start it
by hand in the place of the service, from the project's directory and with the same settings:

    PYTHONPATH=src:. .venv/bin/python -m tests.contract.service serve
    .venv/bin/pytest --server https://HOST --token TOKEN
"""

from dataclasses import replace

from bottle import Bottle
from msgspec import Struct

from {{ cookiecutter.package_name }} import app, routes
from {{ cookiecutter.package_name }}.settings import Settings

ECHO = "/contract/echo"
FAILURE = "/contract/failure"


class Message(Struct, forbid_unknown_fields=True):
    text: str
    copies: int = 1


def echo(body: Message) -> Message:
    return body


def fail() -> Message:
    raise RuntimeError("a reason that clients must not read")


def add_routes(app: Bottle) -> None:
    routes.add_routes(app)
    app.route(ECHO, "POST", echo, status=201)
    app.route(FAILURE, "GET", fail, public=True)


def create_app(settings: Settings) -> Bottle:
    return app.create_app(settings, add_routes)


SERVICE = replace(app.SERVICE, package=__name__, create_app=create_app)

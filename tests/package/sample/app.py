"""Composition root of the sample service. The variable SAMPLE_SERVER names its server."""

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from bottle import Bottle

from bottle_service.application import build_application
from bottle_service.service import Service

from .routes import add_routes
from .settings import Settings

NAME = "sample-service"
DIRECTORY = Path(__file__).parent


def create_app(settings: Settings, add_routes: Callable[[Bottle], None] = add_routes) -> Bottle:
    return build_application(
        NAME,
        DIRECTORY,
        settings,
        add_routes,
        variables={"service": "Sample", "description": "A service of the tests"},
        dependencies={},
    )


SERVICE = Service(
    name=NAME,
    package="sample",
    directory=DIRECTORY,
    settings=Settings,
    create_app=create_app,
    server=import_module(f"bottle_service.servers.{os.environ.get('SAMPLE_SERVER', 'gunicorn')}"),
    example=("/greetings", '{"name": "World"}'),
)

"""The composition root: the one place that knows every part of the service."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bottle import Bottle

from bottle_service.application import build_application
# <% if cookiecutter.database != "none" %>
from bottle_service.database.migrations import Migrations
from bottle_service.database.{{ cookiecutter.database }} import Database
from bottle_service.http import RequestScoped
# <% endif %>
from bottle_service.servers import {{ cookiecutter.wsgi_server }}
from bottle_service.service import Service

from . import commands
from .routes import add_routes
from .settings import Settings

NAME = "{{ cookiecutter.project_slug }}"
DIRECTORY = Path(__file__).parent


def create_app(settings: Settings, add_routes: Callable[[Bottle], None] = add_routes) -> Bottle:
    """Return the service as a WSGI application that depends on nothing but its arguments.

    Raises StartupError with every problem.
    """
    # <% if cookiecutter.database != "none" %>
    database = open_database(settings)
    # <% endif %>
    # More middleware: `app = build_application(…)`, then `app.wsgi = Middleware(app.wsgi)`.
    return build_application(
        NAME,
        DIRECTORY,
        settings,
        add_routes,
        # Every view has these variables.
        variables={
            "service": "{{ cookiecutter.project_name }}",
            "description": "{{ cookiecutter.description }}",
        },
        # A handler gets the dependency whose name its parameter has.
        dependencies={
            "clock": lambda: datetime.now(UTC),
            # <% if cookiecutter.database != "none" %>
            "session": RequestScoped(database.session, database.close),
            "checks": {"database": database.ping},
            # <% else %>
            "checks": {},
            # <% endif %>
        },
    )


# <% if cookiecutter.database != "none" %>
def open_database(settings: Settings) -> Database:
    return Database(
        settings.database_url,
        Migrations(DIRECTORY / "migrations"),
        threads=settings.web_threads,
        # <% if cookiecutter.database == "sqlite" %>
        busy_timeout=min(5.0, settings.request_deadline / 2),
        # <% else %>
        deadline=settings.request_deadline,
        name=NAME,
        # <% endif %>
    )


# <% endif %>
SERVICE = Service(
    name=NAME,
    package="{{ cookiecutter.package_name }}",
    directory=DIRECTORY,
    settings=Settings,
    create_app=create_app,
    server={{ cookiecutter.wsgi_server }},
    commands=commands,
    # <% if cookiecutter.database != "none" %>
    open_database=open_database,
    example=("/api/v1/notes", '{"title": "Hello"}'),
    # <% else %>
    example=("/api/v1/greetings", '{"name": "World"}'),
    # <% endif %>
)

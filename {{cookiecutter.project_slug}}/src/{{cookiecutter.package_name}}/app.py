"""The composition root: the one place that knows every part of the service."""

from datetime import UTC, datetime

from bottle import Bottle

from .assets import Assets
# <% if cookiecutter.database == "sqlite" %>
from .database import Database
# <% endif %>
from .environment import BootError, Problem
from .routes import add_routes
from .settings import STATIC_DIRECTORY, VIEWS_DIRECTORY, Settings
from .telemetry.access import AccessLog
from .telemetry.metrics import Metrics
from .web.application import new_application
# <% if cookiecutter.database == "sqlite" %>
from .web.handlers import PerRequest
# <% endif %>
from .web.problems import ProblemPages
from .web.views import Views

SERVICE = "{{ cookiecutter.project_slug }}"


def create_app(settings: Settings) -> Bottle:
    """Return the service as a WSGI application that depends on nothing but these settings.

    Raises BootError when it could not do its work with them.
    """
    assets = Assets(STATIC_DIRECTORY, fingerprints=settings.app_env == "production")
    views = Views(
        VIEWS_DIRECTORY,
        asset=assets.url,
        service="{{ cookiecutter.project_name }}",
        description="{{ cookiecutter.description }}",
    )
    metrics = Metrics()
    # <% if cookiecutter.database == "sqlite" %>
    database = Database(settings)
    # <% endif %>
    app = new_application(
        add_routes,
        # What a handler gets when a parameter of it has this name.
        resources={
            "views": views,
            "assets": assets,
            "metrics": metrics,
            "clock": lambda: datetime.now(UTC),
            # <% if cookiecutter.database == "sqlite" %>
            "session": PerRequest(database.session, database.close),
            "checks": {"database": database.ping},
            # <% else %>
            "checks": {},
            # <% endif %>
        },
        caller_name=settings.api_tokens.name_of,
        admin_name=settings.admin_token.name_of if settings.admin_token.pairs else None,
        pages=ProblemPages(views, hints=settings.app_env == "development"),
        recorders=[AccessLog(settings, SERVICE), metrics],
        cors_origins=settings.cors_origins.origins,
        trusted_proxies=settings.trusted_proxies,
        max_body_bytes=settings.max_body_bytes,
    )
    problems = [
        Problem("", "cannot be read by this user; `chmod -R a+rX` gives it the right", str(path))
        for path in assets.unreadable()
    ]
    problems += [
        Problem("", f"cannot be shown: {error}", str(path)) for path, error in views.broken()
    ]
    own = [route for route in app.routes if not route.config.get("public")]
    guarded = [route for route in own if not route.config.get("admin")]
    if guarded and not settings.api_tokens.pairs:
        reason = (
            f"{len(guarded)} routes ask for a token and there is none; set it to NAME:TOKEN, "
            "with a token from `openssl rand -hex 32`"
        )
        problems.append(Problem("API_TOKENS", reason))
    if problems:
        raise BootError(problems)
    return app

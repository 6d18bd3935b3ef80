"""Build the application of a service from its parts."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bottle import Bottle

from .assets import Assets
from .http import build_http_application
from .http.problems import ProblemRenderer
from .http.routing import ServiceBottle
from .overview import Overview
from .release import release_id
from .settings import ServiceSettings
from .startup import StartupError, StartupProblem
from .telemetry.access_log import AccessLog
from .telemetry.metrics import Metrics
from .views import PAGE_POLICY, Views

__all__ = ["build_application"]


def build_application(
    name: str,
    directory: Path,
    settings: ServiceSettings,
    add_routes: Callable[[Bottle], None],
    *,
    variables: Mapping[str, str],
    dependencies: Mapping[str, Any],
    page_policy: str = PAGE_POLICY,
) -> ServiceBottle:
    """Return the WSGI application of the service whose package is in `directory`.

    Every view has `variables`; `dependencies` are injected into handlers by parameter
    name, besides `settings`, `views`, `assets`, `metrics`, and `overview`, which is None outside
    of development. `page_policy` is the Content-Security-Policy of pages. Raises StartupError with
    every problem.
    """
    release = release_id(directory)
    assets = Assets(directory / "static", fingerprints=settings.app_env == "production")
    views = Views(directory / "views", policy=page_policy, asset=assets.url, **variables)
    metrics = Metrics(release)
    access_log = AccessLog(name, release, settings.log_format, settings.log_level)
    admin_token = settings.admin_token
    overview = None
    if settings.app_env == "development":
        overview = Overview(variables, settings, os.environ, dependencies.get("checks", {}))
    app = build_http_application(
        add_routes,
        dependencies={
            "settings": settings,
            "overview": overview,
            "views": views,
            "assets": assets,
            "metrics": metrics,
            **dependencies,
        },
        authenticate_client=settings.api_tokens.authenticate,
        authenticate_admin=admin_token.authenticate if admin_token.clients else None,
        problem_renderer=ProblemRenderer(views, hints=settings.app_env == "development"),
        recorders=[access_log, metrics],
        cors_origins=settings.cors_origins.items,
        trusted_proxy_count=settings.trusted_proxy_count,
        max_body_bytes=settings.max_body_bytes,
    )
    if problems := _problems(app, settings, assets, views):
        raise StartupError(problems)
    return app


def _problems(
    app: Bottle, settings: ServiceSettings, assets: Assets, views: Views
) -> list[StartupProblem]:
    problems = [
        StartupProblem("", "cannot be read by this user; run `chmod -R a+rX` on it", str(path))
        for path in assets.unreadable()
    ]
    problems += [
        StartupProblem("", f"cannot be rendered: {error}", str(path))
        for path, error in views.check()
    ]
    private = [route for route in app.routes if not route.config.get("public")]
    guarded = [route for route in private if not route.config.get("admin")]
    if guarded and not settings.api_tokens.clients:
        reason = (
            f"{len(guarded)} routes require a token but none is configured; set API_TOKENS to "
            "NAME:TOKEN, with a token from `openssl rand -hex 32`"
        )
        problems.append(StartupProblem("API_TOKENS", reason))
    return problems

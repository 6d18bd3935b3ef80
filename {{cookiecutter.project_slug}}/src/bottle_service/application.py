"""Build the application of a service from its parts."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bottle import Bottle
from prometheus_client.metrics import MetricWrapperBase

from .assets import Assets
from .backups import newest_backup
from .http import build_http_application
from .http.auth import Authenticator, RolesOf, SessionAuthenticator, no_roles
from .http.problems import ProblemRenderer
from .http.routing import ServiceBottle
from .http.url_prefix import URL_PREFIX, UrlPrefixMiddleware
from .openapi import OpenAPI
from .overview import Overview
from .release import release_id
from .settings import DatabaseSettings, ServiceSettings
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
    url_prefix: str = "",
    authenticate_client: Authenticator | None = None,
    authenticate_session: SessionAuthenticator | None = None,
    roles_of: RolesOf = no_roles,
) -> ServiceBottle:
    """Return the WSGI application of the service whose package is in `directory`.

    Every view has `variables`; `dependencies` are injected into handlers by parameter name, besides
    `settings`, `views`, `assets`, `metrics`, `openapi`, and `overview`, which is None outside of
    development. One that has a method `close` is closed with the application. `page_policy` is the
    Content-Security-Policy of pages. `authenticate_client` returns the name of the client with a
    bearer token; by default these are the clients of API_TOKENS. `authenticate_session` returns the
    name of the client with a session, by the cookies of the environ. Both return None for credentials
    that are not valid. `roles_of` returns the roles of the client with a name, for the option `role`
    of routes. `url_prefix` is the path of the service on its host, such as `/app`; views have it as a
    variable. Raises StartupError with every problem.
    """
    if not re.fullmatch(URL_PREFIX, url_prefix):
        reason = f"{url_prefix!r} is not a path such as /app, without a slash at its end"
        raise StartupError([StartupProblem("URL_PREFIX", reason)])
    release = release_id(directory)
    assets = Assets(
        directory / "static",
        fingerprints=settings.app_env == "production",
        url_prefix=url_prefix,
    )
    common = {"asset": assets.url, "url_prefix": url_prefix, **variables}
    views = Views(directory / "views", policy=page_policy, **common)
    metrics = Metrics(release)
    if isinstance(settings, DatabaseSettings):
        metrics.read_at_scrape(
            "database_backup_timestamp_seconds",
            "Time of the newest backup in BACKUP_DIRECTORY; 0 if there is none.",
            partial(newest_backup, settings.backup_directory, name),
        )
    access_log = AccessLog(name, release, settings.log_format, settings.log_level)
    admin_token = settings.admin_token
    overview = None
    if settings.app_env == "development":
        overview = Overview(variables, settings, os.environ, dependencies.get("checks", {}))
    openapi = OpenAPI(variables, url_prefix)
    app = build_http_application(
        add_routes,
        dependencies={
            "settings": settings,
            "openapi": openapi,
            "overview": overview,
            "views": views,
            "assets": assets,
            "metrics": metrics,
            **dependencies,
        },
        authenticate_client=authenticate_client or settings.api_tokens.authenticate,
        authenticate_session=authenticate_session,
        roles_of=roles_of,
        authenticate_admin=admin_token.authenticate if admin_token.clients else None,
        problem_renderer=ProblemRenderer(views, hints=settings.app_env == "development"),
        recorders=[access_log, metrics],
        cors_origins=settings.cors_origins.items,
        trusted_proxy_count=settings.trusted_proxy_count,
        max_body_bytes=settings.max_body_bytes,
    )
    openapi.app = app
    problems = [*_problems(assets, views), *_metrics_of_modules(directory), *openapi.problems()]
    if not authenticate_client and not authenticate_session:
        problems += _missing_tokens(app, settings)
    if problems:
        raise StartupError(problems)
    if url_prefix:
        app.wsgi = UrlPrefixMiddleware(app.wsgi, url_prefix)
    return app


def _problems(assets: Assets, views: Views) -> list[StartupProblem]:
    problems = [
        StartupProblem("", "cannot be read by this user; run `chmod -R a+rX` on it", str(path))
        for path in assets.unreadable()
    ]
    problems += [
        StartupProblem("", f"cannot be rendered: {error}", str(path))
        for path, error in views.check()
    ]
    return problems


def _missing_tokens(app: Bottle, settings: ServiceSettings) -> list[StartupProblem]:
    private = [route for route in app.routes if not route.config.get("public")]
    guarded = [route for route in private if not route.config.get("admin")]
    if not guarded or settings.api_tokens.clients:
        return []
    reason = (
        f"{len(guarded)} routes require a token but none is configured; set API_TOKENS to "
        "NAME:TOKEN, with a token from `openssl rand -hex 32`"
    )
    return [StartupProblem("API_TOKENS", reason)]


def _metrics_of_modules(directory: Path) -> Iterator[StartupProblem]:
    """Yield each metric of prometheus_client that a module of the service has created itself.

    Workers count where the server tells them to, which is not known yet when a module is imported.
    """
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if not path.startswith(f"{directory}{os.sep}"):
            continue
        for name, value in vars(module).items():
            if isinstance(value, MetricWrapperBase):
                reason = (
                    f"{name} counts in the memory of one process and is not in /metrics; use the "
                    "dependency `metrics`: docs/how-to/metrics.md"
                )
                yield StartupProblem("", reason, path)

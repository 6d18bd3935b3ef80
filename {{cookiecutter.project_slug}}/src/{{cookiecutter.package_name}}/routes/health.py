"""Liveness, readiness and metrics."""

from collections.abc import Callable, Mapping

from bottle import HTTPResponse
from prometheus_client import CONTENT_TYPE_LATEST

from bottle_service.http import Problem
from bottle_service.telemetry.metrics import Metrics


def live() -> dict[str, str]:
    """Liveness: the process responds.

    It checks no dependency, whose failure no restart repairs.
    """
    return {"status": "ok"}


def ready(checks: Mapping[str, Callable[[], None]]) -> dict[str, str]:
    """Readiness: the dependencies respond, too."""
    for name, check in checks.items():
        try:
            check()
        except Exception as error:  # logged with the problem, and not sent to the client
            detail = f"The check {name!r} fails."
            raise Problem(503, detail, headers={"Retry-After": "5"}) from error
    return {"status": "ok"}


def metrics(metrics: Metrics) -> HTTPResponse:
    """Metrics for Prometheus."""
    return HTTPResponse(metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

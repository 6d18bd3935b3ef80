"""Whether the process lives, whether it can do its work, and how much it does."""

import logging
from collections.abc import Callable, Mapping

from bottle import HTTPResponse
from prometheus_client import CONTENT_TYPE_LATEST

from ..telemetry.metrics import Metrics
from ..web.problems import Problem

logger = logging.getLogger(__name__)


def live() -> dict[str, str]:
    """Liveness: the process answers. It asks nobody else, or their fault would restart us."""
    return {"status": "ok"}


def ready(checks: Mapping[str, Callable[[], None]]) -> dict[str, str]:
    """Readiness: what the service depends on answers too."""
    for name, check in checks.items():
        try:
            check()
        except Exception:
            logger.exception("readiness check failed: %s", name)
            raise Problem(503, f"The check {name!r} fails.", headers={"Retry-After": "5"}) from None
    return {"status": "ok"}


def metrics(metrics: Metrics) -> HTTPResponse:
    return HTTPResponse(metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

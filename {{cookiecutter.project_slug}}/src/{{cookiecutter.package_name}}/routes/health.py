"""Whether the process lives, whether it can do its work, and how much it does."""

from collections.abc import Callable, Mapping

from bottle import HTTPResponse
from prometheus_client import CONTENT_TYPE_LATEST

from ..telemetry.metrics import Metrics
from ..web.problems import Problem


def live() -> dict[str, str]:
    """Liveness: the process answers. It asks nobody else, or their fault would restart us."""
    return {"status": "ok"}


def ready(checks: Mapping[str, Callable[[], None]]) -> dict[str, str]:
    """Readiness: what the service depends on answers too."""
    for name, check in checks.items():
        try:
            check()
        except Exception as error:  # which the log names, and the answer does not
            detail = f"The check {name!r} fails."
            raise Problem(503, detail, headers={"Retry-After": "5"}) from error
    return {"status": "ok"}


def metrics(metrics: Metrics) -> HTTPResponse:
    return HTTPResponse(metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

"""Whether the process lives, and whether it can do its work."""

import logging
from collections.abc import Callable, Mapping

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

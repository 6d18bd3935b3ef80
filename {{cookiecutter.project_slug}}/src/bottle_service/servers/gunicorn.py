"""Start Gunicorn in the `serve` process."""

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from bottle import Bottle

from ..release import release_id
from ..startup import StartupProblem
from ..telemetry.worker_slots import make_metrics_directory

if TYPE_CHECKING:
    from ..service import Service

__all__ = ["WorkerClass", "check", "prepare_worker", "serve"]

# The type of a setting WORKER_CLASS.
WorkerClass = Literal["gthread", "gevent"]


def check(settings: Any) -> list[StartupProblem]:
    """Return why Gunicorn could not run with these settings."""
    problems = []
    if not hasattr(os, "fork"):
        reason = "Gunicorn needs POSIX: develop in WSL, or choose Waitress"
        problems.append(StartupProblem("", reason, sys.platform))
    if settings.worker_class == "gevent" and not find_spec("gevent"):
        reason = "gevent is not installed; add it to pyproject.toml's dependencies and `make lock`"
        problems.append(StartupProblem("WORKER_CLASS", reason))
    return problems


def serve(service: "Service", settings: Any, app: Bottle) -> None:
    """Run Gunicorn's master in this process; its workers create their own application.

    The workers share the modules that `serve` has imported to check the application, so they
    start quickly. gevent must patch modules before Bottle is imported: with it, Gunicorn starts
    in a new process image.
    """
    app.close()
    os.environ |= {
        # The workers count in this directory; gunicorn_hooks.py removes it.
        "PROMETHEUS_MULTIPROC_DIR": make_metrics_directory(service.package),
        "SERVE_NAME": service.name,
        "SERVE_RELEASE": release_id(service.directory),
        "SERVE_BIND": str(settings.bind),
        "SERVE_WEB_CONCURRENCY": str(settings.web_concurrency),
        "SERVE_WEB_THREADS": str(settings.web_threads),
        "SERVE_WORKER_CLASS": settings.worker_class,
        "SERVE_LOG_FORMAT": settings.log_format,
        "SERVE_LOG_LEVEL": settings.log_level,
    }
    # GUNICORN_CMD_ARGS would silently override gunicorn.conf.py.
    os.environ.pop("GUNICORN_CMD_ARGS", None)
    config = service.directory.parents[1] / "gunicorn.conf.py"
    arguments = ["--config", str(config), f"{service.package}.wsgi:app"]
    if settings.worker_class == "gevent":
        os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments])
    from gunicorn.app.wsgiapp import run

    # Gunicorn reads its arguments here, and starts itself again with them at SIGUSR2.
    spec = find_spec("gunicorn.__main__")
    sys.argv = [str(spec and spec.origin), *arguments]
    run()


def prepare_worker(_app: Bottle) -> None:
    """Do nothing: gunicorn_hooks.py prepares a worker."""

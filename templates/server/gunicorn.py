"""Gunicorn as the server: its master runs in this process."""

import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from bottle import Bottle

from .environment import Problem
from .settings import Settings

CONFIG = Path(__file__).parents[2] / "gunicorn.conf.py"


def problems(settings: Settings) -> list[Problem]:
    """Say why Gunicorn could not run with these settings."""
    found = []
    if not hasattr(os, "fork"):
        reason = "Gunicorn needs POSIX: develop in WSL, or choose Waitress"
        found.append(Problem("", reason, sys.platform))
    if settings.worker_class == "gevent" and not find_spec("gevent"):
        reason = "gevent is not installed; add it to pyproject.toml's dependencies and `make lock`"
        found.append(Problem("WORKER_CLASS", reason))
    return found


def serve(settings: Settings, app: Bottle) -> NoReturn:
    """Run Gunicorn's master until it stops. Raises SystemExit.

    Workers are forked with every module imported, so a start imports them once. Each worker builds
    its own application: `app` was only a check, and no connection of it may be in two processes.
    """
    app.close()
    os.environ |= {
        # Where the workers count together; its end is in gunicorn.conf.py.
        "PROMETHEUS_MULTIPROC_DIR": new_directory(),
        "SERVE_BIND": str(settings.bind),
        "SERVE_WEB_CONCURRENCY": str(settings.web_concurrency),
        "SERVE_WEB_THREADS": str(settings.web_threads),
        "SERVE_WORKER_CLASS": settings.worker_class,
        "SERVE_LOG_FORMAT": settings.log_format,
        "SERVE_LOG_LEVEL": settings.log_level,
    }
    # It would win over everything else, unseen.
    os.environ.pop("GUNICORN_CMD_ARGS", None)
    arguments = ["--config", str(CONFIG), f"{__package__}.wsgi:app"]
    if settings.worker_class == "gevent":
        # Gunicorn imports gevent before the application, so that it can patch Bottle's threads.
        os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments])
    import gunicorn.__main__  # not where `problems` reports that it needs POSIX
    from gunicorn.app.wsgiapp import WSGIApplication

    # As `python -m gunicorn` would have it: a reload (HUP) and an upgrade (USR2) read these again.
    sys.argv = [gunicorn.__main__.__file__, *arguments]
    WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn").run()
    raise SystemExit


# <% include "server/counts.py" %>

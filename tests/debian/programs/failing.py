"""Wrapper of create_app that fails as /etc/my-service/failure says; a test adds it to a release.

The first word of the file names the failure. The other words say where it happens: each must be the
name of a control group, an argument, a part of TMPDIR or a module of this process.
"""

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bottle_service.startup import StartupError, StartupProblem

FAILURE = Path("/etc/my-service/failure")
Create = Callable[..., Any]


def failing(create_app: Create) -> Create:
    """Return a create_app that fails in the processes that the file describes."""

    def create(*arguments: Any) -> Any:
        failure, *words = FAILURE.read_text().split()
        here = Path("/proc/self/cgroup").read_text() + os.environ.get("TMPDIR", "")
        if not {*re.split(r"[/\s]", here), *sys.argv, *sys.modules} >= set(words):
            return create_app(*arguments)
        app = create_app(*arguments)
        fail(app, failure)
        return app

    return create


def fail(app: Any, failure: str) -> None:
    """Fail now, later, or at each request."""
    match failure:
        case "refuse":
            raise StartupError([StartupProblem("", "refuses", "this release")])
        case "hang":
            time.sleep(600)
        case "deaf":  # SIGTERM does not end the process
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        case "crash":
            threading.Timer(1.5, os._exit, [1]).start()
        case "silence":  # alive, and never ready
            respond = app.wsgi

            def wait(environ: dict[str, Any], start_response: Any) -> Any:
                time.sleep(600 * (environ["PATH_INFO"] == "/readyz"))
                return respond(environ, start_response)

            app.__dict__["wsgi"] = wait
        case "request":

            def die(environ: dict[str, Any], start_response: Any) -> Any:
                os.write(2, b"dies of a request")
                os._exit(1)

            app.__dict__["wsgi"] = die
        case "call":
            outcomes = [connect(name) for name in ("collector.example", "10.89.0.1")]
            trial = os.path.exists("/run/my-service-trial.sock")
            place = "during its trial" if trial else "alone"
            print("call:", "; ".join([*outcomes, place]), flush=True)


def connect(name: str) -> str:
    """Return the outcome of an outgoing connection."""
    try:
        socket.create_connection((name, 8000), timeout=5)
    except OSError as error:
        return str(error.strerror)
    return "connected"

"""How the server is started: uWSGI, in place of this process."""

import contextlib
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NoReturn

from bottle import Bottle

from .environment import Problem
from .settings import Settings

CONFIG = Path(__file__).parents[2] / "uwsgi.ini"


def packet(variables: dict[str, str]) -> bytes:
    """Return a request in the protocol that Nginx speaks to uWSGI.

    https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html
    """
    texts = [text.encode("latin-1") for pair in variables.items() for text in pair]
    content = b"".join(struct.pack("<H", len(text)) + text for text in texts)
    return struct.pack("<BHB", 0, len(content), 0) + content


_PROBE = packet(
    {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/livez",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.0",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_USER_AGENT": "self-probe",
    }
)


def problems(settings: Settings) -> list[Problem]:
    """Say why uWSGI could not run with these settings."""
    found = []
    if not hasattr(os, "fork"):
        reason = "uWSGI needs POSIX: develop in WSL, or choose Waitress"
        found.append(Problem("", reason, sys.platform))
    if settings.app_env == "production" and not (settings.bind.path or _inherited()):
        # Its HTTP parser takes a request that can be read in two ways for one of them.
        reason = "in production uWSGI listens on unix:/path, for Nginx's uwsgi_pass"
        found.append(Problem("BIND", reason))
    return found


def serve(settings: Settings, app: Bottle) -> NoReturn:
    """Become uWSGI. Its workers make the application anew, so `app` was only a check."""
    metrics = tempfile.mkdtemp(prefix=f"{__package__}-metrics-")
    notify_socket = os.environ.pop("NOTIFY_SOCKET", "")  # READY=1 would come before any worker
    command = [sys.executable, "-c", "from pyuwsgi import run; run()", "--ini", str(CONFIG)]
    path = _inherited()
    if not path and settings.bind.path:
        path = settings.bind.path
        command += ["--socket", path]
    elif not path:
        command += ["--http-socket", str(settings.bind)]
    os.environ |= {
        "PROMETHEUS_MULTIPROC_DIR": metrics,
        "SERVE_WEB_CONCURRENCY": str(settings.web_concurrency),
        "SERVE_WEB_THREADS": str(settings.web_threads),
        f"SERVE_{settings.log_format.upper()}": "",
    }
    _attend(metrics, path, notify_socket)
    os.dup2(2, 1)  # where it logs
    os.execv(sys.executable, command)


def _inherited() -> str:
    """Return the path that systemd listens on for us (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return ""
    path: str = socket.socket(fileno=os.dup(3)).getsockname()
    return path


def _attend(metrics: str, path: str, notify_socket: str) -> None:
    """Leave a process that tells systemd how the server is, and cleans up when that has ended.

    uWSGI's master runs no Python, and waits for its children: this is none.
    """
    server = os.getpid()
    if child := os.fork():
        os.waitpid(child, 0)
        return
    if os.fork() == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
        if notify_socket:
            where = (notify_socket, socket.AF_UNIX, path)
            threading.Thread(target=announce, args=where, daemon=True).start()
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(server, 0)
                time.sleep(0.5)
        shutil.rmtree(metrics, ignore_errors=True)
    os._exit(0)


# <% include "server/notify.py" %>

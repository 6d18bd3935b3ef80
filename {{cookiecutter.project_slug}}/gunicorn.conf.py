"""Gunicorn's settings (https://gunicorn.org/reference/settings/).

Gunicorn's master reads this file at its start, at a reload and after an upgrade. `serve` puts the
settings used here into the environment, under names of their own. After a reload the workers read
their own settings again; a new release of the code needs a restart.
"""

import atexit
import json
import logging
import os
import re
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from gunicorn import util
from gunicorn.glogging import Logger

bind = os.environ["SERVE_BIND"]  # a socket inherited from systemd wins
umask = 0o007  # a unix socket is for the service's own group

worker_class = os.environ["SERVE_WORKER_CLASS"]
workers = int(os.environ["SERVE_WEB_CONCURRENCY"])
threads = int(os.environ["SERVE_WEB_THREADS"])

# How the timeouts depend on each other: deploy/README.md.
graceful_timeout = 40
timeout = 60  # of a worker's heartbeat, not of a request
keepalive = 75  # longer than Nginx's 60, so that it is never surprised by our close

# A heartbeat file on a slow disk stalls the workers.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
control_socket_disable = True
http_parser = "python"

# As long as Nginx takes it (large_client_header_buffers); each header is by itself.
limit_request_line = 8190

# The application itself decides which proxy it believes; over a unix socket Gunicorn would
# take these headers from anybody.
secure_scheme_headers = {}
forwarder_headers = ""


class JsonFormatter(logging.Formatter):
    """Gunicorn's own lines in the form of the service's (telemetry/logs.py)."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "@timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "log.level": record.levelname.lower(),
            "log.logger": record.name,
            "message": record.getMessage(),
            "service.name": "{{ cookiecutter.project_slug }}",
            "process.pid": record.process,
        }
        if record.exc_info:
            line["error.stack_trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    def __init__(self, **_: object) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")


_formatter = TextFormatter if os.environ["SERVE_LOG_FORMAT"] == "text" else JsonFormatter
logconfig_dict = {
    "formatters": {"line": {"()": _formatter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"]},
    "loggers": {
        "gunicorn.error": {
            "handlers": ["stderr"],
            "level": os.environ["SERVE_LOG_LEVEL"],
        }
    },
}


class ErrorLogger(Logger):
    """Gunicorn's logger without access lines, because the service writes its own.

    With `logconfig_dict` Gunicorn (27.0.1) formats an access line for every request, even where no
    handler writes it: a fifth of the processor time of a small request.
    """

    def access(self, *_arguments: object) -> None:
        pass


logger_class = ErrorLogger


def write_error(client: socket.socket, status: int, reason: str, _message: str) -> None:
    """Answer what never reaches the application as it would: as a problem (RFC 9457)."""
    problem = {"type": "about:blank", "title": reason, "status": status}
    body = json.dumps(problem | {"detail": "The server cannot take this request."})
    head = (
        f"HTTP/1.1 {status} {reason}",
        "Connection: close",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
    )
    util.write_nonblock(client, "\r\n".join([*head, "", body]).encode())


def remove_counts(master: int) -> None:
    if os.getpid() == master:  # and not a worker, which ends with what it has of the master's
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def on_starting(_server: object) -> None:
    util.write_error = write_error  # Gunicorn's own is HTML, and no setting changes that
    atexit.register(remove_counts, os.getpid())  # on_exit is not called where it cannot listen


# <% include "server/notify.py" %>


# Gunicorn would say READY=1 before any worker has loaded the application.
_notify_socket = os.environ.pop("NOTIFY_SOCKET", "")


def when_ready(server: object) -> None:
    if _notify_socket:
        listener = server.LISTENERS[0].sock
        where = (_notify_socket, listener.family, listener.getsockname(), lambda: server.LISTENERS)
        threading.Thread(target=announce, args=where, daemon=True).start()


def post_fork(server: object, _worker: object) -> None:
    """Have this worker end for a stop that comes before it has handlers of its own.

    By itself (27.0.1) it takes that for its master's, and serves on until it is killed.
    """
    stops = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
    for number in stops:
        signal.signal(number, lambda *_: sys.exit())
    noted = server.SIG_QUEUE  # its copy of the master's
    if any(noted.get() in stops for _ in range(noted.qsize())):
        sys.exit()


def end_with(master: int) -> None:
    """Ask this worker to end once its master was killed.

    By itself (27.0.1) it goes on with the connections that Nginx keeps, and drops what comes on
    them when graceful_timeout is over.
    """
    with suppress(ProcessLookupError):  # killed before
        select.select([os.pidfd_open(master)], [], [])
    os.kill(os.getpid(), signal.SIGTERM)


def post_worker_init(worker: object) -> None:
    # Ctrl-C is a graceful stop too. Gunicorn's fast one (seen in 27.0.1) waits for itself for
    # ever when it comes while its thread pool is starting a thread.
    signal.signal(signal.SIGQUIT, worker.handle_exit)
    if sys.platform == "linux":
        threading.Thread(target=end_with, args=[worker.ppid], daemon=True).start()

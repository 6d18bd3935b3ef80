"""Gunicorn's server hooks (https://gunicorn.org/reference/settings/#server-hooks).

gunicorn.conf.py imports them. With WORKER_CLASS=gevent, Gunicorn imports this module before gevent
has patched the standard library, so it imports neither Bottle nor the service.
"""

import atexit
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import parser

from ..telemetry.logging import configure_logging
from . import malformed_request_problem
from .event_streams import EventStreamMiddleware, shut_down
from .sd_notify import notify_when_ready

__all__ = ["ServiceLogger", "on_starting", "post_fork", "post_worker_init", "when_ready"]

# Gunicorn would send READY=1 before any worker has loaded the application.
_notify_socket = os.environ.pop("NOTIFY_SOCKET", "")


class ServiceLogger(Logger):  # type: ignore[misc]
    """Gunicorn's logger, with its entries in the format of the service's."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        configure_logging(
            os.environ["SERVE_NAME"],
            os.environ["SERVE_RELEASE"],
            log_format=os.environ["SERVE_LOG_FORMAT"],
            log_level=os.environ["SERVE_LOG_LEVEL"],
        )


def on_starting(_server: Any) -> None:
    """Prepare the master: how it and its workers respond, and the end of the metrics."""
    # Gunicorn's own responses to malformed requests are HTML, which no setting changes.
    util.write_error = write_error
    # Gunicorn (27.0.1) receives at most 64 KiB of a body that the application has not read, and
    # closes the connection while Nginx still sends: Nginx responds with 502 (benoitc/gunicorn#872).
    # Limits of time remain: 5 s for a connection that is kept open, 2 s for one that is closed.
    parser._DRAIN_MAX_BYTES = sys.maxsize
    util.close_graceful = partial(util.close_graceful, max_drain=sys.maxsize)
    # The hook on_exit does not run if Gunicorn cannot listen.
    atexit.register(remove_metrics_directory, os.getpid())


def when_ready(server: Any) -> None:
    """Notify systemd from a thread of the master, once a worker responds."""
    if _notify_socket:
        listener = server.LISTENERS[0].sock
        where = (_notify_socket, listener.family, listener.getsockname(), lambda: server.LISTENERS)
        threading.Thread(target=notify_when_ready, args=where, daemon=True).start()


def post_fork(server: Any, worker: Any) -> None:
    """Exit at a stop signal that arrives before the worker has signal handlers, and log failures.

    Otherwise Gunicorn (27.0.1) treats the signal as its master's, and the worker runs until it is
    killed; and it prints an error of the application as text, next to the log entry.
    """
    load = worker.load_wsgi

    def load_or_exit() -> None:
        try:
            load()
        except Exception:
            server.log.exception("the application cannot be loaded")
            sys.exit(server.WORKER_BOOT_ERROR)

    worker.load_wsgi = load_or_exit
    stops = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
    for number in stops:
        signal.signal(number, lambda *_: sys.exit())
    pending = server.SIG_QUEUE  # a copy of the master's queue
    if any(pending.get() in stops for _ in range(pending.qsize())):
        sys.exit()


def post_worker_init(worker: Any) -> None:
    """Make the worker stop gracefully at SIGQUIT and when its master is killed, and cut streams."""
    # Make Ctrl-C a graceful stop too. Gunicorn's fast stop (27.0.1) deadlocks if it comes while
    # the thread pool starts a thread.
    signal.signal(signal.SIGQUIT, worker.handle_exit)
    worker.wsgi = streams = EventStreamMiddleware(worker.wsgi, cutter_of)
    threading.Thread(target=cut_streams_at_stop, args=[worker, streams], daemon=True).start()
    if sys.platform == "linux":
        threading.Thread(target=exit_when_master_dies, args=[worker.ppid], daemon=True).start()


def cutter_of(environ: dict[str, Any]) -> Callable[[], None]:
    """Return a function that shuts down the connection of a request."""
    return partial(shut_down, environ["gunicorn.socket"])


def cut_streams_at_stop(worker: Any, streams: EventStreamMiddleware) -> None:
    """Cut event streams at a stop, and exit as soon as no other request is in flight.

    The worker would wait for a stream that waits for its next event, and Python for its thread.
    gevent's worker does not count connections, so there a stream ends when it sends its next event.
    """
    while worker.alive:
        time.sleep(0.5)
    while True:
        streams.cut()
        # A connection is counted until its request, which may be a stream, has finished.
        if streams and getattr(worker, "nr_conns", sys.maxsize) <= len(streams):
            atexit._run_exitfuncs()
            os._exit(0)
        time.sleep(0.1)


def exit_when_master_dies(master: int) -> None:
    """Stop this worker gracefully after its master was killed.

    Otherwise the worker (27.0.1) goes on with the connections that Nginx keeps open, and drops
    their requests after graceful_timeout.
    """
    with suppress(ProcessLookupError):  # the master is dead already
        select.select([os.pidfd_open(master)], [], [])
    os.kill(os.getpid(), signal.SIGTERM)


def remove_metrics_directory(master: int) -> None:
    if os.getpid() == master:  # a worker runs the functions that its master has registered, too
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def write_error(client: socket.socket, status: int, reason: str, _message: str) -> None:
    """Respond with problem details (RFC 9457) to a request that Gunicorn cannot parse."""
    body = malformed_request_problem(status, reason)
    head = (
        f"HTTP/1.1 {status} {reason}",
        "Connection: close",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
    )
    util.write_nonblock(client, "\r\n".join([*head, "", ""]).encode() + body)

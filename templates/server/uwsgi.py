"""How the server is started: uWSGI, in place of this process."""

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
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


# What an emperor says, and what has it keep the socket and start the vassal with who waits there.
RELOAD, BACK_TO_ON_DEMAND = b"\x01", b"\x16"

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
    metrics = new_directory()
    notify_socket = os.environ.pop("NOTIFY_SOCKET", "")  # READY=1 would come before any worker
    command = [sys.executable, "-c", "from pyuwsgi import run; run()", "--ini", str(CONFIG)]
    path = _inherited()
    emperor = os.environ.pop("UWSGI_EMPEROR_FD", "")  # at whose word it would drop what it answers
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
    os.dup2(2, 1)  # where it logs
    if emperor:
        _be_vassal(int(emperor), metrics)
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    else:
        _attend(metrics, path, notify_socket)
    os.execvp(command[0], command)


def outlive_master() -> None:
    """Have this process, if it is a worker, end gracefully when its master was killed.

    By itself it would end at once, with all that its threads answer, when one of them reads that
    the master's end of a socket is closed (`uwsgi_receive_signal` in uWSGI's core/signal.c).
    """
    if sys.platform != "linux" or "uwsgi" not in sys.modules:
        return
    process = sys.modules["uwsgi"].masterpid()
    try:
        watched = os.pidfd_open(process)
    except ProcessLookupError:
        os._exit(0)  # killed while we loaded: who takes no request drops none
    master = struct.pack("i", process)
    never_closed, _ = (end.detach() for end in socket.socketpair())
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError), socket.fromfd(fd, socket.AF_UNIX, 0) as end:
            kind = end.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
            made_by = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4)
            if (kind, end.getsockname()) == (socket.SOCK_STREAM, "") and made_by == master:
                os.dup2(never_closed, fd)

    def stop() -> None:
        select.select([watched], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()


def _inherited() -> str:
    """Return the path that systemd listens on for us (sd_listen_fds(3)), or an emperor."""
    if "UWSGI_EMPEROR_FD" in os.environ:
        inherited = 0
    elif os.environ.get("LISTEN_PID") == str(os.getpid()):
        inherited = 3
    else:
        return ""
    path: str = socket.socket(fileno=os.dup(inherited)).getsockname()
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
            # A stop ends this process too.
            where = (notify_socket, socket.AF_UNIX, path, lambda: True)
            threading.Thread(target=announce, args=where, daemon=True).start()
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(server, 0)
                time.sleep(0.5)
        shutil.rmtree(metrics, ignore_errors=True)
    os._exit(0)


def _be_vassal(emperor: int, metrics: str) -> None:
    """Leave a process that does what the emperor says, until the server, its child, has ended.

    https://uwsgi-docs.readthedocs.io/en/latest/EmperorProtocol.html
    """
    if (server := os.fork()) == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the emperor's uWSGI ignores it
        return
    vassal = os.getpid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    events = [emperor, os.pidfd_open(server)]
    # A check that hangs may not keep us from the emperor's next word.
    limited = ["timeout", "--verbose", "--signal=KILL", "15"]
    check = [*limited, sys.executable, "-m", __package__, "check"]
    while emperor in select.select(events, [], [])[0]:
        word = os.read(emperor, 1)  # none if the emperor has died
        if word == RELOAD:
            if subprocess.run(check, stdout=subprocess.DEVNULL, check=False).returncode:
                continue
            os.write(emperor, BACK_TO_ON_DEMAND)
        os.kill(server, signal.SIGTERM)
        break
    if os.WIFSIGNALED(os.waitpid(server, 0)[1]):
        os.write(emperor, BACK_TO_ON_DEMAND)
    shutil.rmtree(metrics, ignore_errors=True)
    if os.fork() == 0:
        # The emperor looks who has died when this is closed, and then not for two seconds.
        while os.getppid() == vassal:
            time.sleep(0.01)
    os._exit(0)


# <% include "server/counts.py" %>


# <% include "server/notify.py" %>

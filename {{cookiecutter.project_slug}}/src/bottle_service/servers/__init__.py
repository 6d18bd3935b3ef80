"""The WSGI servers: one module for each, with `check`, `serve` and `prepare_worker`."""

import errno
import json
import os
import socket
import stat
from typing import TYPE_CHECKING

from ..startup import StartupError, StartupProblem

if TYPE_CHECKING:
    from ..settings import Bind

__all__ = ["LISTEN_FD", "inherited_socket", "listen", "malformed_request_problem"]

# The first file descriptor that systemd passes: sd_listen_fds(3).
LISTEN_FD = 3


def malformed_request_problem(status: int, title: str) -> bytes:
    """Return problem details (RFC 9457) for a request that the server cannot parse."""
    detail = "The server cannot take this request."
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return json.dumps(problem).encode()


def inherited_socket() -> socket.socket | None:
    """Return the socket that systemd or the development server passes (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        return socket.socket(fileno=LISTEN_FD)
    return None


def listen(bind: "Bind") -> socket.socket:
    """Return a socket that listens on the address. Raises StartupError if that fails."""
    try:
        return _listen(bind)
    except OSError as error:
        why = str(error.strerror).partition(" (while")[0]  # create_server repeats the address
        reason = f"cannot listen on {bind}: {why}; set PORT or BIND to another address"
        raise StartupError([StartupProblem("BIND", reason)]) from None


def _listen(bind: "Bind") -> socket.socket:
    if not bind.path:
        family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
        return socket.create_server((bind.host, bind.port), family=family, backlog=2048)
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(bind.path) and stat.S_ISSOCK(os.stat(bind.path).st_mode):
        # A process that was killed leaves its socket behind.
        if listener.connect_ex(bind.path) == 0:
            raise OSError(errno.EADDRINUSE, "is in use", bind.path)
        os.unlink(bind.path)
    listener.bind(bind.path)
    os.chmod(bind.path, 0o660)
    listener.listen(2048)
    return listener

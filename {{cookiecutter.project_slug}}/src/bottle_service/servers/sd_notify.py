"""Report to systemd that the service is ready, and to its watchdog that it still responds."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable

__all__ = ["HTTP_HEALTH_REQUEST", "Address", "is_healthy", "notify_when_ready", "sd_notify"]

HTTP_HEALTH_REQUEST = b"GET /livez HTTP/1.0\r\nUser-Agent: self-probe\r\n\r\n"

Address = str | tuple[str, int]


def sd_notify(socket_name: str, state: str) -> None:
    """Send a state to systemd: https://www.freedesktop.org/software/systemd/man/sd_notify.html"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(re.sub("^@", "\0", socket_name))
        channel.sendall(state.encode())


def is_healthy(family: int, address: Address, request: bytes, timeout: float) -> bool:
    """Return whether a worker that listens there responds with 200 within `timeout` seconds."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(timeout)
            client.connect(address)
            client.sendall(request)
            return client.recv(12).endswith(b" 200")
    except OSError:
        return False


def notify_when_ready(
    socket_name: str,
    family: int,
    address: Address,
    is_serving: Callable[[], object],
    request: bytes = HTTP_HEALTH_REQUEST,
) -> None:
    """Send READY=1 after the first 200, then WATCHDOG=1 after each 200, until the service stops.

    Health requests do not wait for each other, so that the watchdog restarts a service that hangs,
    and not one that is busy. None is sent after `is_serving` returns a false value, because
    socket activation would start the service again to respond to it.
    """
    watchdog = float(os.environ.get("WATCHDOG_USEC", "0")) / 1e6  # seconds

    def report_health() -> None:
        # Asked again here, because this thread may have waited for its turn.
        if is_serving() and is_healthy(family, address, request, watchdog):
            sd_notify(socket_name, "WATCHDOG=1")

    while not is_healthy(family, address, request, 5):
        time.sleep(0.05)
    sd_notify(socket_name, "READY=1")
    while watchdog and is_serving():
        threading.Thread(target=report_health, daemon=True).start()
        time.sleep(watchdog / 4)

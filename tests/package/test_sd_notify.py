"""systemd: sockets that it passes, readiness and the watchdog, with each server."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bottle_service.servers.sd_notify import is_healthy, sd_notify

from .running_service import Launcher, wait_until
from .server_selection import with_workers

WATCHDOG = "800000"  # microseconds


class Systemd:
    """Receiver of sd_notify(3). Its name is in the abstract namespace."""

    def __init__(self, name: str, channel: socket.socket) -> None:
        self.name = f"@{name}"
        self.channel = channel
        channel.bind(f"\0{name}")
        channel.settimeout(20)

    def receive(self) -> bytes:
        return self.channel.recv(100)

    def drain(self) -> None:
        """Receive until nothing arrives for longer than the watchdog's time."""
        self.channel.settimeout(1)
        try:
            for _ in range(100):
                self.receive()
            pytest.fail("notifications do not end")
        except TimeoutError:
            self.channel.settimeout(20)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        yield Systemd(f"{tmp_path}/not@fy", channel)


def test_notification_reaches_a_path_and_an_abstract_name(systemd: Systemd, tmp_path: Path) -> None:
    sd_notify(systemd.name, "READY=1")
    assert systemd.receive() == b"READY=1"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(os.path.relpath(tmp_path / "notify"))
        sd_notify(os.path.relpath(tmp_path / "notify"), "READY=1")
        assert channel.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("response", "healthy"),
    [(b"HTTP/1.1 200 OK\r\n", True), (b"HTTP/1.1 503 No\r\n", False), (b"", False)],
)
def test_only_a_200_is_healthy(response: bytes, healthy: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()

        def respond() -> None:
            channel, _ = listener.accept()
            with channel:
                channel.recv(100)
                channel.sendall(response)

        thread = threading.Thread(target=respond)
        thread.start()
        assert is_healthy(socket.AF_INET, address, b"GET / HTTP/1.0\r\n\r\n", 5) == healthy
        thread.join()
    assert not is_healthy(socket.AF_INET, address, b"", 5), "nothing listens any more"


def test_readiness_and_watchdog_are_notified(launcher: Launcher, systemd: Systemd) -> None:
    launcher.start(NOTIFY_SOCKET=systemd.name, WATCHDOG_USEC=WATCHDOG)
    assert systemd.receive() == b"READY=1"
    assert {systemd.receive() for _ in range(3)} == {b"WATCHDOG=1"}
    # Four times within the watchdog's time, because each is a request.
    ends, received = time.monotonic() + 2, 0
    while time.monotonic() < ends:
        systemd.receive()
        received += 1
    assert received < 50


def test_inherited_socket_wins_over_bind(launcher: Launcher) -> None:
    path = launcher.directory / "inherited"
    other = launcher.directory / "other"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        service = launcher.start(f"unix:{other}", inherited=listener, wait=False)
        service.bind = f"unix:{path}"
        wait_until(service.is_ready)
        service.stop()
    assert not other.exists()
    assert path.exists()


@with_workers
def test_readiness_waits_for_the_first_response(
    launcher: Launcher, systemd: Systemd, tmp_path: Path
) -> None:
    loaded = tmp_path / "loaded"
    launcher.start(
        wait=False, sitecustomize="slow_load", NOTIFY_SOCKET=systemd.name, LOADED=str(loaded)
    )
    assert systemd.receive() == b"READY=1"
    assert loaded.exists()


@with_workers
def test_watchdog_is_not_notified_while_the_service_hangs(
    launcher: Launcher, systemd: Systemd
) -> None:
    service = launcher.start(NOTIFY_SOCKET=systemd.name, WATCHDOG_USEC=WATCHDOG)
    assert systemd.receive() == b"READY=1"
    wait_until(lambda: len(service.workers()) == 2)  # one is enough to be ready
    for worker in service.workers():
        os.kill(worker, signal.SIGSTOP)
    systemd.drain()
    for worker in service.workers():
        os.kill(worker, signal.SIGCONT)
    assert systemd.receive() == b"WATCHDOG=1"

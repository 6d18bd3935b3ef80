"""What systemd and the started server say to each other: sockets, readiness, the watchdog."""

# <% if cookiecutter.wsgi_server != "waitress" %>
import os
import signal
# <% endif %>
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# <% if cookiecutter.wsgi_server != "waitress" %>
from .service import ROOT, Service, workers_of
# <% else %>
from .service import Service
# <% endif %>

pytestmark = pytest.mark.live
# <% if cookiecutter.wsgi_server != "waitress" %>

# Python reads this before all else: a worker takes a second more to load its application.
LATE = """
import pathlib, sys, time

class Late:
    def find_spec(self, name, *_):
        if name == "{{ cookiecutter.package_name }}.wsgi":
            time.sleep(1)
            pathlib.Path(__file__).with_name("loaded").touch()

sys.meta_path.insert(0, Late())
"""
# <% endif %>


@pytest.fixture
def systemd(environ: dict[str, str], tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens on for sd_notify(3), with a watchdog of 0.8 s.

    A name of the abstract namespace stands here: paths are what a booted systemd gives.
    """
    name = f"{tmp_path}/not@fy"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{name}")
        channel.settimeout(20)
        environ |= {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "800000"}
        yield channel


def test_it_is_told_that_the_service_answers(systemd: socket.socket, service: Service) -> None:
    assert systemd.recv(100) == b"READY=1"
    assert {systemd.recv(100) for _ in range(5)} == {b"WATCHDOG=1"}


def test_it_is_not_told_more_than_it_needs(systemd: socket.socket, service: Service) -> None:
    """Four times within its 0.8 s: each is a request."""
    ends, told = time.monotonic() + 2, 0
    while time.monotonic() < ends:
        systemd.recv(100)
        told += 1
    assert told < 50


def test_an_inherited_socket_wins(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "held.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        service = Service(environ, f"unix:{tmp_path}/other.sock", tmp_path / "log", listener)
        service.address = f"unix:{path}"
        try:
            service.wait_until_ready()
        finally:
            service.stop()
    assert not (tmp_path / "other.sock").exists()
    assert path.exists()
# <% if cookiecutter.wsgi_server != "waitress" %>


def test_it_is_not_told_so_before_the_service_answers(
    systemd: socket.socket, environ: dict[str, str], place: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(LATE)
    service = Service(environ | {"PYTHONPATH": f"{ROOT}/src:{tmp_path}"}, place, tmp_path / "log")
    try:
        assert systemd.recv(100) == b"READY=1"
        assert (tmp_path / "loaded").exists()
    finally:
        service.stop()


def listen(systemd: socket.socket, times: int) -> None:
    for _ in range(times):
        systemd.recv(100)


def test_it_is_not_told_so_while_the_service_hangs(
    systemd: socket.socket, service: Service
) -> None:
    assert systemd.recv(100) == b"READY=1"
    while len(workers_of(service)) < 2:  # one is enough to be ready
        time.sleep(0.01)
    for worker in workers_of(service):
        os.kill(worker, signal.SIGSTOP)
    systemd.settimeout(1)
    with pytest.raises(TimeoutError):
        listen(systemd, times=100)  # to what was answered before
    systemd.settimeout(20)
    for worker in workers_of(service):
        os.kill(worker, signal.SIGCONT)
    assert systemd.recv(100) == b"WATCHDOG=1"
# <% endif %>

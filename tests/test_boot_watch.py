"""A service that hangs, one that is busy, and one that is to read its settings anew."""

import time
from collections.abc import Iterator

import pytest

from .conftest import event, on_http, once, with_workers
from .documents import blocks
from .host import SETTINGS, TOKENS, UNIT, Host

WATCHDOG = f"""
mkdir -p /run/systemd/system/{UNIT}.d
printf '[Service]\\nWatchdogSec=6\\n' >/run/systemd/system/{UNIT}.d/watchdog.conf
systemctl daemon-reload
systemctl restart {UNIT}
"""
# Requests whose bodies do not come, until every thread of Gunicorn's worker waits for one.
HOLD = """
import pathlib, socket, sys, time
def sent(request, seconds=None):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    connection.connect("/run/my-service.sock")
    connection.sendall(request + b"Host: a\\r\\n\\r\\n")
    return connection
def answers():
    try:
        return sent(b"GET /livez HTTP/1.1\\r\\n", 2).recv(1)
    except OSError:
        return b""
held = []
while answers():
    held.append(sent(b"POST /api/v1/notes HTTP/1.1\\r\\nContent-Length: 9\\r\\n"
        b"Content-Type: application/json\\r\\nAuthorization: Bearer %s\\r\\n" % sys.argv[1].encode()))
pathlib.Path("/run/held").touch()
time.sleep(float(sys.argv[2]))
"""
# One whose body comes only after some seconds.
SLOW = r"""
import socket, time
connection = socket.socket(socket.AF_UNIX)
connection.connect("/run/my-service.sock")
connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
time.sleep(4)
connection.sendall(b"hello")
"""


@pytest.fixture
def alone(installed: Host) -> Iterator[Host]:
    """Return the host with one worker, in which every request lands."""
    settings = installed.machine.root / SETTINGS
    right = settings.read_text()
    settings.write_text(f"{right}WEB_CONCURRENCY=1\n")
    installed.start()
    yield installed
    settings.write_text(right)
    installed.start()


def hold(host: Host, seconds: int) -> None:
    """Have all threads of the service wait, in the background."""
    token = host.inside("cat", TOKENS).strip().partition(":")[2]
    host.inside("rm", "-f", "/run/held")
    unit = ["systemd-run", "--quiet", "--collect", "--unit=hold"]
    host.inside(*unit, "python3", "-c", HOLD, token, str(seconds))
    host.wait_until((host.machine.root / "run/held").exists, 60)


@once
def test_a_busy_service_is_left(alone: Host) -> None:
    """All its threads wait, for as long as Nginx waits for an answer (proxy_read_timeout)."""
    before = alone.show("MainPID", "NRestarts"), alone.workers()
    hold(alone, seconds=30)
    began = time.monotonic()
    ask = ["curl", "--silent", "--unix-socket", "/run/my-service.sock", "http://localhost/livez"]
    assert "ok" in alone.inside(*ask)
    assert time.monotonic() - began > 20
    assert (alone.show("MainPID", "NRestarts"), alone.workers()) == before


@once
def test_a_service_that_hangs_is_restarted(alone: Host) -> None:
    alone.typed(WATCHDOG)
    (before,) = alone.show("NRestarts")
    hold(alone, seconds=60)
    alone.wait_until(lambda: alone.show("NRestarts") != [before], 40)
    alone.inside("systemctl", "stop", "hold.service")
    assert alone.ask("GET", "/readyz")[0] == 200
    alone.inside("journalctl", f"--unit={UNIT}", "--since=-2min", "--grep=Watchdog timeout")
    alone.typed(f"rm -r /run/systemd/system/{UNIT}.d && systemctl daemon-reload")


@on_http
def test_a_stop_is_not_undone_by_a_question_of_its_own(installed: Host) -> None:
    """A question that nobody answers any more would have the socket start the service again."""
    installed.typed(WATCHDOG)
    installed.inside("systemd-run", "--quiet", "--collect", "--unit=slow", "python3", "-c", SLOW)
    time.sleep(1)
    began = time.monotonic()
    installed.inside("systemctl", "stop", UNIT)
    assert time.monotonic() - began > 2
    time.sleep(1)
    assert installed.show("ActiveState") == ["inactive"]
    installed.typed(f"rm -r /run/systemd/system/{UNIT}.d && systemctl daemon-reload")
    installed.start()


@event
@with_workers
def test_a_reload_is_guarded_and_loses_nothing(installed: Host) -> None:
    settings, before = installed.machine.root / SETTINGS, installed.workers()
    right = settings.read_text()
    settings.write_text(f"{right}WEB_TREADS=4\n")
    installed.inside("systemctl", "reload", UNIT, status=1)
    assert installed.workers() == before
    settings.write_text(right)
    with installed.under_load("reload"):
        installed.inside("systemctl", "reload", UNIT)
        installed.wait_until(lambda: not installed.workers() & before, 30)
    assert installed.show("NRestarts", "ActiveState")[1] == "active"


@once
def test_the_runbook_can_be_typed(installed: Host) -> None:
    """Every command of docs/runbook.md, in its order, as root."""
    assert installed.ask("GET", "/nothing")[0] == 404
    installed.fetch("py-spy")
    told = installed.typed("".join(blocks(installed.source, "docs/runbook.md")))
    assert "my-service:www-data 660" in told
    assert "process_resident_memory_bytes" in told
    assert "notAfter=" in told
    assert "gunicorn" in told  # in the stacks

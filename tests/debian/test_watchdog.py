"""Watchdog and reload: a hanging service, a busy service, and changed settings."""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

from ..support.markdown import blocks
from .host import DOMAIN, PROGRAMS, SETTINGS, UNIT, Host
from .selection import measured, on_each_server, on_servers_with_http, on_servers_with_workers, once

WATCHDOG = f"""
mkdir -p /run/systemd/system/{UNIT}.d
printf '[Service]\\nWatchdogSec=6\\n' >/run/systemd/system/{UNIT}.d/watchdog.conf
systemctl daemon-reload
systemctl restart {UNIT}
"""
STUCK = "run/stuck"
CLIENTS = "for _ in $(seq 16); do curl --silent http://127.0.0.1:9180/readyz & done; wait"


@contextlib.contextmanager
def stuck(host: Host) -> Iterator[Path]:
    """Make all threads of the service wait until the file is removed, with waiting clients."""
    file = host.machine.root / STUCK
    with host.wrapped("stuck"):
        file.touch()
        host.inside("systemd-run", "--quiet", "--collect", "--unit=clients", "sh", "-c", CLIENTS)
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)
            host.shell("systemctl stop clients || true")


@on_each_server
def test_busy_service_is_not_killed(installed: Host) -> None:
    """All threads wait for as long as Nginx waits for a response (proxy_read_timeout)."""
    with stuck(installed) as file:
        before = installed.unit_properties("MainPID", "NRestarts"), installed.workers()
        time.sleep(30)
        assert (
            installed.request("GET", "/metrics")[0] == 404
        )  # from Nginx; the service does not respond
        file.unlink()
        assert installed.request("GET", "/livez")[0] == 200
        assert (installed.unit_properties("MainPID", "NRestarts"), installed.workers()) == before


@on_each_server
def test_open_event_stream_delays_no_restart(installed: Host) -> None:
    installed.check_restart_with_open_stream(f"systemctl restart {UNIT}")


@on_each_server
def test_hanging_service_is_restarted(installed: Host) -> None:
    installed.shell(WATCHDOG)
    with stuck(installed) as file:
        (before,) = installed.unit_properties("NRestarts")
        installed.wait_until(lambda: installed.unit_properties("NRestarts") != [before], 40)
        file.unlink()
        assert installed.request("GET", "/readyz")[0] == 200
        installed.inside("journalctl", f"--unit={UNIT}", "--since=-2min", "--grep=Watchdog timeout")
    installed.shell(f"rm -r /run/systemd/system/{UNIT}.d && systemctl daemon-reload")


@on_servers_with_http
def test_stop_is_not_reverted_by_the_watchdog(installed: Host) -> None:
    """An unanswered health request of the watchdog would make the socket start the service again.

    A request of the moment in which the stop begins can still do this, so one stop of three suffices.
    """
    installed.shell(WATCHDOG)
    slow = (PROGRAMS / "slow_request.py").read_text()
    sent = installed.machine.root / "run/slow"
    for _ in range(3):
        installed.inside(
            "systemd-run", "--quiet", "--collect", "--unit=slow", "python3", "-c", slow
        )
        installed.wait_until(sent.exists, 10)
        sent.unlink()
        time.sleep(0.5)
        began = time.monotonic()
        installed.inside("systemctl", "stop", UNIT)
        assert time.monotonic() - began > 1
        time.sleep(1)
        if installed.unit_properties("ActiveState") == ["inactive"]:
            break
        installed.start()
    assert installed.unit_properties("ActiveState") == ["inactive"]
    installed.shell(f"rm -r /run/systemd/system/{UNIT}.d && systemctl daemon-reload")
    installed.start()


@measured
@on_servers_with_workers
def test_reload_checks_settings_and_loses_no_request(installed: Host) -> None:
    settings, before = installed.machine.root / SETTINGS, installed.workers()
    original = settings.read_text()
    settings.write_text(f"{original}WEB_TREADS=4\n")
    installed.inside("systemctl", "reload", UNIT, status=1)
    assert installed.workers() == before
    settings.write_text(original)
    with installed.under_load("reload"):
        installed.inside("systemctl", "reload", UNIT)
        installed.wait_until(lambda: not installed.workers() & before, 30)
    assert installed.unit_properties("NRestarts", "ActiveState")[1] == "active"


@once
def test_inline_runbook_commands_succeed(installed: Host) -> None:
    commands = installed.runbook_commands()
    assert len(commands) > 5
    for command in commands:
        installed.shell(command)
        if " stop " not in command:
            assert installed.request("GET", "/readyz")[0] == 200, command
    installed.start()


@once
def test_runbook_blocks_succeed(installed: Host) -> None:
    """Each command of docs/runbook.md, in order and as root, finds its symptom."""
    runbook = "".join(blocks(installed.source, "docs/runbook.md"))
    (own,) = re.findall("^id=(.*)$", runbook, re.MULTILINE)
    lock = (PROGRAMS / "lock_database.py").read_text()
    installed.inside("systemd-run", "--quiet", "--collect", "python3", "-c", lock)
    time.sleep(1.5)  # until it holds the lock, also on a busy host
    assert installed.request("POST", "/api/v1/notes", '{"title": "late"}')[0] == 201
    request = f"curl --silent --insecure --resolve {DOMAIN}:443:127.0.0.1 https://{DOMAIN}/livez"
    limit = "sed -i s/rate={}r/rate={}r/ /etc/nginx/sites-available/my-service.conf"
    reload = "systemctl reload nginx && sleep 1"
    installed.shell(
        f"{request} --header 'X-Request-ID: {own}' && {limit.format(5000, 50)} && {reload}"
    )
    installed.shell(
        f"{request}?[1-400] --parallel >/dev/null; {limit.format(50, 5000)} && {reload}"
    )
    installed.fetch("py-spy")
    output = installed.shell(runbook)
    found = [json.loads(line) for line in output.splitlines() if own in line and line[0] == "{"]
    assert {line["service.name"] for line in found} == {"my-service", "my-service-nginx"}
    assert '"url.path":"/api/v1/notes"' in output  # a slow request
    assert re.search(r"^ +[0-9]+ 127\.0\.0\.1$", output, re.MULTILINE)  # clients with a 429
    assert "none" not in output.splitlines()
    assert "my-service:www-data 660 /run/my-service.sock" in output
    assert "process_resident_memory_bytes" in output
    assert "notAfter=" in output
    assert "gunicorn" in output  # in the stacks


HOT = """
import threading

def planted_function() -> None:
    while True:
        sum(range(1000))

threading.Thread(target=planted_function, daemon=True).start()
"""


@once
def test_runbook_shows_the_hottest_function(installed: Host) -> None:
    """In each worker a planted function takes a processor."""
    (profile,) = blocks(installed.source, "docs/runbook.md", "High CPU")
    module = "/opt/my-service/current/src/my_service/wsgi.py"
    installed.shell(f"cp {module} /srv/wsgi.py && cat >>{module} <<'END'\n{HOT}\nEND")
    try:
        installed.start()
        installed.fetch("py-spy")
        hottest, *others = re.findall(r"^(\d+) (.*)$", installed.shell(profile), re.MULTILINE)
    finally:
        installed.shell(f"cp /srv/wsgi.py {module}")
        installed.start()
    assert "planted_function" in hottest[1], (hottest, others)
    # Two workers were profiled for five seconds at 100 Hz.
    assert int(hottest[0]) > 300

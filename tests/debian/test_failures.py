"""Failures of a host: killed processes, a full disk, invalid settings, a crash loop."""

import json
import re
import time

from .host import DATA, SETTINGS, TOKENS, UNIT, Host
from .selection import measured, on_gunicorn, on_most, once

DROPIN = f"run/systemd/system/{UNIT}.d/failure.conf"


@on_most
@measured
def test_killed_process_loses_only_requests_in_flight(installed: Host) -> None:
    """Gunicorn's killed master loses none, because its workers finish their requests."""
    (master,) = installed.unit_properties("MainPID")
    assert master != "0"
    workers = f"cat /proc/{master}/task/{master}/children"
    if installed.server == "waitress":
        assert installed.shell(workers) == ""
        victims = [("the process", master, 8, False)]
    else:
        one = f"$({workers} | cut -d ' ' -f 1)"
        victims = [
            ("a worker", one, 8, False),
            ("all workers", f"$({workers})", 16, True),
            ("the master", master, 0, False),
        ]
    for name, processes, killed, retries_fail in victims:
        event = f"kill -9 of {name}"
        with installed.under_load(
            event, killed=killed, retries_fail=retries_fail, pause=0
        ) as kills:
            kills.append(installed.kill(processes))
            time.sleep(2)
    assert installed.unit_properties("ActiveState", "NRestarts") == ["active", "1"]


@once
def test_crash_loop_stops_at_the_start_limit(installed: Host) -> None:
    dropin = installed.machine.root / DROPIN
    dropin.parent.mkdir()
    # Each start takes a second, as a start that fails late does.
    dropin.write_text("[Service]\nExecStart=\nExecStart=/bin/sh -c 'sleep 1; exit 1'\n")
    installed.inside("systemctl", "daemon-reload")
    installed.inside("systemctl", "reset-failed", UNIT)
    try:
        installed.inside("systemctl", "restart", UNIT, status=1)
        ends = time.monotonic() + 40
        while installed.unit_properties("ActiveState") != ["failed"] and time.monotonic() < ends:
            time.sleep(0.2)
        journal = installed.inside("journalctl", f"--unit={UNIT}", "--no-pager", "--lines=20")
    finally:
        dropin.unlink()
        dropin.parent.rmdir()
        installed.inside("systemctl", "daemon-reload")
    assert "Start request repeated too quickly" in journal
    assert "Failed with result 'exit-code'" in journal
    installed.start()


@once
def test_full_disk_loses_no_acknowledged_note(installed: Host) -> None:
    """On a disk of 4 MB, a note that does not fit is rejected, and the other notes remain."""
    installed.shell(f"""
        systemctl stop {UNIT} my-service.socket
        cp -a {DATA} /srv/data && mount -t tmpfs -o size=4m,mode=750 data {DATA}
        cp -a /srv/data/db.sqlite3 {DATA} && chown my-service: {DATA}
    """)
    installed.start()
    try:
        note = json.dumps({"title": "kept", "body": "x" * 10000})
        written = [installed.request("POST", "/api/v1/notes", note)]
        installed.shell(f"head -c 8M /dev/zero >{DATA}/fill", status=1)
        while written[-1][0] == 201 and len(written) < 40:
            written.append(installed.request("POST", "/api/v1/notes", note))
        status, text = written.pop()
        problem = json.loads(text)
        assert (status, problem["detail"]) == (503, "The database's disk is full.")
        assert written
        assert any("disk is full" in line for line in installed.journal(60))
        assert installed.request("GET", "/readyz")[0] == 503
        for _, text in written:
            assert installed.request("GET", f"/api/v1/notes/{json.loads(text)['id']}") == (
                200,
                text,
            )
        installed.inside("rm", f"{DATA}/fill")
        assert installed.request("POST", "/api/v1/notes", note)[0] == 201
        assert len(installed.titles("kept")) == len(written) + 1
    finally:
        installed.shell(f"systemctl stop {UNIT} my-service.socket; umount {DATA}")
        installed.start()


def fail_to_start(host: Host) -> str:
    """Restart the service, which must fail to start, and return its last log line.

    systemd retries a few times if a request waits in the socket.
    """
    host.inside("systemctl", "restart", UNIT, status=1)
    host.wait_until(
        lambda: host.unit_properties("ActiveState", "ExecMainStatus") == ["failed", "2"], 30
    )
    return host.journal(20)[-1]


@once
def test_missing_database_is_reported(installed: Host) -> None:
    assert installed.request("POST", "/api/v1/notes", '{"title": "found"}')[0] == 201
    before = installed.titles("%")
    assert "found" in before
    installed.inside("mv", DATA, "/srv/lost")
    last = fail_to_start(installed)
    line = f"  DATABASE_URL: there is no database at {DATA}/db.sqlite3: run the command `migrate`"
    assert last == line
    installed.shell(f"rmdir {DATA} && mv /srv/lost {DATA}")
    installed.start()
    assert installed.titles("%") == before


@once
def test_invalid_setting_prevents_the_start(installed: Host) -> None:
    settings = installed.machine.root / SETTINGS
    original = settings.read_text()
    settings.write_text(f"{original}WEB_TREADS=4\n")
    last = fail_to_start(installed)
    line = len(original.splitlines()) + 1
    assert f"  WEB_TREADS (/{SETTINGS} line {line}): is not a setting of" in last
    settings.write_text(original)
    installed.start()


@on_gunicorn
def test_missing_token_prevents_the_start(installed: Host) -> None:
    installed.inside("mv", TOKENS, "/srv/")
    last = fail_to_start(installed)
    assert re.search("  API_TOKENS: [0-9]+ routes require a token", last)
    installed.inside("mv", "/srv/API_TOKENS", TOKENS)
    installed.start()

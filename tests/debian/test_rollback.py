"""Failing releases on a host: install.sh rejects them before the switch, or rolls back."""

import os
import re
from pathlib import Path

import pytest

from . import failing_releases
from .host import BACKUPS, DATA, FILES, UNIT, UNITS, Host
from .selection import on_each_server, once

CHECK, TRIAL = "check", "my-service-trial.service"
# Modules that only the workers have imported when they create the application. Gunicorn's master also
# creates it, to check it, and a thread of that check would outlive the check.
WORKER_MODULES = {"gunicorn": "gunicorn.arbiter", "uwsgi": "uwsgi", "waitress": ""}
# Before the switch: the same for each server.
REJECTED = [
    ("refuse", CHECK, "this release: refuses", "its check failed"),
    ("hang", TRIAL, "timeout was exceeded", "its trial start failed"),
    ("crash", TRIAL, "its trial start failed", ""),
    ("request", TRIAL, "its trial start failed", ""),
    (
        "silence",
        TRIAL,
        "routes\ninstall.sh: the release is rejected because its trial start failed",
        "",
    ),
]
# After the switch.
ROLLED_BACK = [("deaf", "did not become ready"), ("crash", "did not stay ready")]
# Changes of a release's unit by sed: verification finds the first three, only the start finds the last.
BROKEN_UNITS = [
    ("s/^MemoryMax=/MemoryMaximum=/", "MemoryMaximum", "its units are invalid"),
    ("s/^Requires=/&nothing.service /", "nothing.service not found", "its units are invalid"),
    ("s|bin/python -m|bin/pyton -m|", "bin/pyton is not executable", "its units are invalid"),
    ("s/ serve$/ sirve/", "", "its trial start failed"),
]
MIGRATION = """
from alembic import op

revision, down_revision = "0002_half", "0001_notes"


def upgrade() -> None:
    op.execute("CREATE TABLE half (id INTEGER)")
    op.execute("INSERT INTO nowhere VALUES (1)")
"""
# During an installation: shows the trial, kills install.sh, and shows that nothing of the trial remains.
DURING_TRIAL = f"""
timeout 20 sh -c 'until systemctl show {TRIAL} | grep -qx SubState=start; do sleep 0.1; done'
stat --format='%a %U' /run/my-service-trial.sock
systemctl show --property=Environment,RestrictAddressFamilies {TRIAL}
kill $!
wait $! || echo "ended with $?"
ls /run
"""


@pytest.fixture
def faulty(installed: Host) -> str:
    """Return the ID of the release that can fail; /srv/quick has an install.sh that waits less."""
    if not (installed.machine.root / failing_releases.TREE[1:]).exists():
        failing_releases.put_tree(installed)
    output = installed.install("--dry-run", tree=failing_releases.TREE)
    (release,) = re.findall(r"this installs release ([0-9a-f]{12})$", output, re.MULTILINE)
    # test_release.py makes it, and later releases remove it.
    if not (installed.machine.root / "opt/my-service/releases" / release).exists():
        before = installed.current_release()
        failing_releases.fail(installed, "none")
        installed.install(tree=failing_releases.TREE)
        installed.install("--release", before)
    installed.shell("sed s/^READY=15/READY=5/ deploy/install.sh >/srv/quick.sh")
    installed.shell("mkdir -p quick/deploy && mv quick.sh quick/deploy/install.sh", cwd="/srv")
    installed.inside("chmod", "+x", "/srv/quick/deploy/install.sh")
    return str(release)


@once
@pytest.mark.parametrize(("failure", "unit", "message", "end"), REJECTED)
def test_failing_release_is_rejected(
    installed: Host, faulty: str, failure: str, unit: str, message: str, end: str
) -> None:
    output = install_failing(installed, faulty, f"{failure} {unit}")
    assert message in output
    assert end in output
    if failure == "request":
        trial = ["journalctl", f"--unit={TRIAL}", "--output=cat"]
        assert "dies of a request" in installed.inside(*trial)


@on_each_server
@pytest.mark.parametrize(("failure", "message"), ROLLED_BACK)
def test_failing_release_is_rolled_back(
    installed: Host, faulty: str, failure: str, message: str
) -> None:
    """Only a crash after the switch loses POSTs."""
    crash = failure == "crash"
    module = WORKER_MODULES[installed.server] if crash else ""
    output = install_failing(installed, faulty, f"{failure} {UNIT} {module}", 16 if crash else 0)
    assert f"{faulty} {message}; see journalctl -u my-service\n" in output
    assert "roll back to" in output


def install_failing(installed: Host, faulty: str, failure: str, killed: int = 0) -> str:
    """Install the release with this failure under load, check the host, and return the output."""
    before = installed.current_release()
    failing_releases.fail(installed, failure)
    with installed.under_load(f"failing release: {failure}", killed=killed, retries_fail=True):
        options = ["--outbound", "--release", faulty]
        output = installed.install(*options, status=1, tree="/srv/quick")
    assert "install.sh: could not" not in output
    assert installed.current_release() == before
    assert installed.unit_properties("ActiveState") == ["active"]
    assert installed.inside("systemctl", "list-units", "--plain", "--no-legend", "*trial*") == ""
    assert not (installed.machine.root / f"{UNITS[0][1:]}.d/outbound.conf").exists()
    return output


@once
def test_trial_is_small_and_private(installed: Host, faulty: str) -> None:
    failing_releases.fail(installed, f"hang {TRIAL}")
    install = f"deploy/install.sh --outbound --release {faulty}"
    lines = installed.shell(f"{install} &{DURING_TRIAL}", cwd="/srv/quick").splitlines()
    assert {"600 my-service", "ended with 1"} <= set(lines)
    assert f"install.sh: could not try the release {faulty}; see the error above" in lines
    assert any(line.endswith(" WEB_CONCURRENCY=1") for line in lines)
    assert any(re.fullmatch("RestrictAddressFamilies=.*AF_INET .*", line) for line in lines)
    assert "my-service-trial.sock" not in lines


@once
def test_failing_first_release_is_removed(installed: Host, faulty: str) -> None:
    release = installed.current_release()
    failing_releases.fail(installed, f"crash {UNIT} {WORKER_MODULES[installed.server]}")
    installed.inside("rm", "/opt/my-service/current")
    output = installed.install("--release", faulty, status=1)
    assert "there is no previous release to roll back to" in output
    assert installed.inside("ls", "/opt/my-service") == "releases\n"
    assert "my-service" not in installed.inside("ls", "/etc/nginx/sites-enabled")
    assert installed.unit_properties("ActiveState", "UnitFileState") == ["inactive", "disabled"]
    installed.wait_until(lambda: ":443 " not in installed.inside("ss", "-ltn"), 10)
    installed.install("--release", release)
    assert installed.unit_properties("ActiveState", "UnitFileState") == ["active", "enabled"]
    assert installed.request("GET", "/readyz")[0] == 200


@once
def test_files_rejected_by_nginx_are_restored(installed: Host, faulty: str) -> None:
    before, listing = installed.current_release(), installed.inside("cat", *FILES, UNITS[0])
    (process,) = installed.unit_properties("MainPID")
    failing_releases.fail(installed, "none")
    path = f"opt/my-service/releases/{faulty}/deploy/nginx/my-service-proxy.conf"
    broken = installed.machine.root / path
    broken.write_text(f"{broken.read_text()}no_such_directive on;\n")
    output = installed.install("--release", faulty, status=1)
    assert "Nginx rejects the files of the release" in output
    assert installed.inside("cat", *FILES, UNITS[0]) == listing
    assert (installed.current_release(), installed.unit_properties("MainPID")) == (
        before,
        [process],
    )
    installed.inside("nginx", "-t")


@once
@pytest.mark.parametrize(("change", "message", "reason"), BROKEN_UNITS)
def test_broken_unit_is_rejected(
    installed: Host, faulty: str, change: str, message: str, reason: str
) -> None:
    before = [installed.current_release(), *installed.unit_properties("MainPID")]
    failing_releases.fail(installed, "none")
    unit = f"/opt/my-service/releases/{faulty}/deploy/systemd/{UNIT}"
    installed.inside("sed", "-i.right", change, unit)
    with installed.under_load("release with a broken unit"):
        output = installed.install("--release", faulty, status=1)
    installed.inside("mv", f"{unit}.right", unit)
    assert message in output
    assert f"the release is rejected because {reason}" in output
    assert [installed.current_release(), *installed.unit_properties("MainPID")] == before


@once
def test_failing_migration_changes_no_table(installed: Host, faulty: str) -> None:
    before = [installed.current_release(), *installed.unit_properties("MainPID")]
    installed.inside("cp", "-a", failing_releases.TREE, "/srv/migrates")
    versions = installed.machine.root / "srv/migrates/src/my_service/migrations/versions"
    (versions / "0002_half.py").write_text(MIGRATION)
    rejected = "the release is rejected because its migration, or the backup before it, failed"
    # A file in the place of the directory lets the backup fail.
    installed.shell(f"mkdir -p {BACKUPS} && mv {BACKUPS} {BACKUPS}-away && touch {BACKUPS}")
    output = installed.install(status=1, tree="/srv/migrates")
    assert f"migrate failed: cannot write to {BACKUPS}: " in output
    assert rejected in output
    assert "nowhere" not in output
    installed.shell(f"rm {BACKUPS} && mv {BACKUPS}-away {BACKUPS}")
    with installed.under_load("release whose migration fails"):
        output = installed.install(status=1, tree="/srv/migrates")
    (path,) = re.findall(r"my-service: backup (\S+-0001_notes\.sqlite3) \(\d+ bytes\)", output)
    assert Path(path).parent == Path(BACKUPS)
    assert os.path.lexists(installed.machine.root / path[1:])
    assert "no such table: nowhere" in output
    assert rejected in output
    assert [installed.current_release(), *installed.unit_properties("MainPID")] == before
    tables = "import sqlite3; print([*sqlite3.connect('db.sqlite3').execute('PRAGMA table_list')])"
    assert "half" not in installed.shell(f'python3 -c "{tables}"', cwd=DATA)

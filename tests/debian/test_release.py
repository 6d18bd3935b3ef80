"""install.sh on a host: releases, rollback, outgoing connections and the database's backup."""

import re

import pytest

from ..support.markdown import blocks
from . import failing_releases
from .host import BACKUPS, COMMIT, PROGRAMS, TURNS, UNIT, UNITS, Host
from .selection import on_most, once

TIMER = "my-service-backup.timer"
UNREACHED = (
    "call: Temporary failure in name resolution; Address family not supported by protocol; alone"
)


def style_sheet(host: Host) -> str:
    """Return the path of the style sheet that the page loads now."""
    status, page = host.request("GET", "/")
    (path,) = re.findall(r'href="(/static/app\.\w+\.css)"', page)
    assert (status, host.request("GET", path)[0]) == (200, 200)
    return str(path)


def outgoing_connection(host: Host) -> str:
    """Return the outcome of the service's newest outgoing connections, and whether a trial ran."""
    host.inside("journalctl", "--sync")
    newest = ["journalctl", f"--unit={UNIT}", "--output=cat", "--grep=^call: ", "--lines=1"]
    return host.inside(*newest).strip()


@on_most
@pytest.mark.availability
def test_release_and_rollback_lose_no_request(installed: Host) -> None:
    """Release a tree without Git to a host with seven releases, with and without --outbound."""
    before, tree = installed.current_release(), failing_releases.put_tree(installed)
    for name in (".env", "backups/my-service.dump"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text("not a part of a release")
    failing_releases.fail(installed, f"call {UNIT}")
    # The running release is the oldest; after the release, it is the previous one.
    old = "mkdir 0 1 2 3 4 5 && touch -d '2 hours ago' [0-5] && touch -d yesterday"
    installed.shell(f"{old} {before}", cwd="/opt/my-service/releases")
    (tree / "src/my_service/static/app.css").write_text("main {}")
    (installed.machine.root / "etc/resolv.conf").write_text("nameserver 10.89.0.1\n")
    sheets = [style_sheet(installed)]
    with installed.machine.client("python3", str(PROGRAMS / "collector.py")) as listener:
        try:
            with installed.under_load("release"):
                installed.shell(installed.section("Each release"), cwd=failing_releases.TREE)
            release = installed.current_release()
            sheets.append(style_sheet(installed))
            assert re.fullmatch("[0-9a-f]{12}", release)
            files = installed.inside("ls", "-A", "/opt/my-service/current").split()
            assert not {".env", "backups"} & {*files}
            kept = installed.inside("ls", "/opt/my-service/releases").split()
            assert len(kept) == 5
            assert {before, release} <= set(kept)
            assert outgoing_connection(installed) == UNREACHED
            with installed.under_load("release with --outbound, of the same tree"):
                installed.shell(
                    installed.section("Outbound connections"), cwd=failing_releases.TREE
                )
            assert outgoing_connection(installed) == "call: connected; connected; alone"
            assert installed.exposure() <= 1.2
        finally:
            listener.kill()
    dropin = installed.machine.root / f"{UNITS[0][1:]}.d/own.conf"
    dropin.write_text("[Service]\nNice=1\n")
    (installed.machine.root / "srv/began").touch()
    with installed.under_load("roll-back, as the README says"):
        installed.shell(installed.section("Roll back").replace(" ID", f" {before}"))
    assert installed.current_release() == before
    # Pages of either release can load their style sheets.
    assert sheets[0] == style_sheet(installed) != sheets[1]
    assert [installed.request("GET", each)[0] for each in sheets] == [200, 200]
    used = installed.shell("find * -maxdepth 0 -newer /srv/began", cwd="/opt/my-service/releases")
    assert set(used.split()) == {before, release}
    listing, _ = blocks(installed.source, "deploy/README.md", "Roll back")
    releases = re.findall(r"(?m):\d\d (\w+)$|/(\w+)$", installed.shell(listing))
    assert releases[:2] + releases[-1:] == [(before, ""), (release, ""), ("", before)]
    for _ in range(TURNS - 1):
        with installed.under_load("release"):
            installed.install("--release", release)
        with installed.under_load("roll-back, as the README says"):
            installed.install("--release", before)
    # --outbound stays in effect until --no-outbound.
    assert installed.exposure() > 0.4
    installed.install("--no-outbound", "--release", before)
    assert list(dropin.parent.iterdir()) == [dropin]
    assert installed.exposure() <= 0.4


@once
def test_release_resets_the_start_limit(installed: Host) -> None:
    """Of the service, and of the socket unit that a request made fail."""
    restart = f"systemctl restart {UNIT} || exit 0"
    installed.shell(f"for _ in 1 2 3 4 5 6; do {restart}; done; exit 1")
    installed.shell("! curl --silent --unix-socket /run/my-service.sock http://localhost/")
    results = installed.inside("systemctl", "show", "--property=Result", UNIT, "my-service.socket")
    assert results.split() == ["Result=start-limit-hit", "Result=service-start-limit-hit"]
    installed.install()
    assert installed.request("GET", "/readyz")[0] == 200


@once
def test_backup_can_be_restored(installed: Host) -> None:
    installed.check_backup_and_restore()


@once
def test_timer_writes_a_backup_every_night(installed: Host) -> None:
    """In the sandbox of the service, and after the start of a host that was off at night."""
    names = (
        "Description",
        "TimersCalendar",
        "RandomizedDelayUSec",
        "Persistent",
        "Unit",
        "UnitFileState",
    )
    shown = installed.inside(
        "systemctl", "show", TIMER, "--timestamp=unix", *(f"--property={name}" for name in names)
    )
    properties = dict(line.split("=", 1) for line in shown.splitlines())
    assert "OnCalendar=*-*-* 00:00:00 " in properties.pop("TimersCalendar")
    assert properties == {
        "Description": "My Service: a backup of the database, every night",
        "RandomizedDelayUSec": "1h",
        "Persistent": "yes",
        "Unit": "my-service@backup.service",
        "UnitFileState": "enabled",
    }
    assert installed.inside("systemctl", "is-active", TIMER) == "active\n"
    assert installed.exposure("my-service@backup.service") <= installed.exposure() + 0.1

    def backups() -> list[str]:
        return installed.shell(f"ls {BACKUPS} 2>/dev/null || true").split()

    before = backups()
    # The stamp of a night without a backup, as systemd finds it after a start.
    installed.shell(f"""
        systemctl stop {TIMER}
        touch --date '3 days ago' /var/lib/systemd/timers/stamp-{TIMER}
        mkdir -p /run/systemd/system/{TIMER}.d
        printf '[Timer]\\nRandomizedDelaySec=0\\n' >/run/systemd/system/{TIMER}.d/now.conf
        systemctl daemon-reload
        systemctl start {TIMER}
    """)
    try:
        installed.wait_until(lambda: len(backups()) > len(before), 20)
    finally:
        installed.shell(f"rm -r /run/systemd/system/{TIMER}.d && systemctl daemon-reload")


@once
def test_failed_build_is_reported_and_repeated(installed: Host) -> None:
    before = installed.current_release()
    installed.shell(f"touch newest && git add newest && {COMMIT} newest")
    output = installed.shell("PIP_FIND_LINKS=/nowhere deploy/install.sh", status=1)
    release = installed.head_release()
    assert output.splitlines()[-1] == (
        f"install.sh: could not build the release {release}; see the error above"
    )
    assert installed.current_release() == before
    # A release that does not migrate needs no backup.
    assert "my-service: backup" not in installed.install()
    assert installed.current_release() == release

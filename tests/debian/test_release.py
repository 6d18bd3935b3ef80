"""install.sh on a booted Debian: releases, the way back, and what they find there."""

import re

import pytest

from . import failing_releases
from .host import COMMIT, PROGRAMS, TURNS, UNIT, UNITS, Host
from .selection import on_most, once

UNREACHED = (
    "call: Temporary failure in name resolution; Address family not supported by protocol; alone"
)


def sheet(host: Host) -> str:
    """Return the address of the style sheet that the page loads now."""
    status, page = host.request("GET", "/")
    (address,) = re.findall(r'href="(/static/app\.\w+\.css)"', page)
    assert (status, host.request("GET", address)[0]) == (200, 200)
    return str(address)


def called(host: Host) -> str:
    """Return what came of the service's newest attempt to call out, and if its trial had ended."""
    host.inside("journalctl", "--sync")
    newest = ["journalctl", f"--unit={UNIT}", "--output=cat", "--grep=^call: ", "--lines=1"]
    return host.inside(*newest).strip()


@on_most
@pytest.mark.availability
def test_a_release_and_the_way_back(installed: Host) -> None:
    """From a tree without Git, to a host with seven releases; and what calling out takes."""
    before, tree = installed.current_release(), failing_releases.put_tree(installed)
    (tree / ".env").write_text("no part of a release")
    failing_releases.fail(installed, f"call {UNIT}")
    # The oldest by its time is the one that serves, and it is the one before afterwards.
    old = "mkdir 0 1 2 3 4 5 && touch -d '2 hours ago' [0-5] && touch -d yesterday"
    installed.shell(f"{old} {before}", cwd="/opt/my-service/releases")
    (tree / "src/my_service/static/app.css").write_text("main {}")
    (installed.machine.root / "etc/resolv.conf").write_text("nameserver 10.89.0.1\n")
    sheets = [sheet(installed)]
    with installed.machine.client("python3", str(PROGRAMS / "collector.py")) as listener:
        try:
            with installed.under_load("release"):
                installed.shell(installed.section("Each release"), cwd=failing_releases.TREE)
            release = installed.current_release()
            sheets.append(sheet(installed))
            assert re.fullmatch("[0-9a-f]{12}", release)
            assert ".env" not in installed.inside("ls", "-A", "/opt/my-service/current").split()
            kept = installed.inside("ls", "/opt/my-service/releases").split()
            assert len(kept) == 5
            assert {before, release} <= set(kept)
            assert called(installed) == UNREACHED
            with installed.under_load("release with --outbound, of the same tree"):
                installed.shell(
                    installed.section("Outbound connections"), cwd=failing_releases.TREE
                )
            assert called(installed) == "call: connected; connected; alone"
            assert installed.exposure() <= 1.2
        finally:
            listener.kill()
    mine = installed.machine.root / f"{UNITS[0][1:]}.d/mine.conf"
    mine.write_text("[Service]\nNice=1\n")
    (installed.machine.root / "srv/began").touch()
    with installed.under_load("roll-back, as the README says"):
        installed.shell(installed.section("Roll back").replace(" ID", f" {before}"))
    assert installed.current_release() == before
    # Whoever has loaded a page of either release can load what belongs to it.
    assert sheets[0] == sheet(installed) != sheets[1]
    assert [installed.request("GET", each)[0] for each in sheets] == [200, 200]
    used = installed.shell("find * -maxdepth 0 -newer /srv/began", cwd="/opt/my-service/releases")
    assert set(used.split()) == {before, release}
    for _ in range(TURNS - 1):
        with installed.under_load("release"):
            installed.install("--release", release)
        with installed.under_load("roll-back, as the README says"):
            installed.install("--release", before)
    # What was switched on stays so until it is switched off.
    assert installed.exposure() > 0.4
    installed.install("--no-outbound", "--release", before)
    assert list(mine.parent.iterdir()) == [mine]
    assert installed.exposure() <= 0.4


@once
def test_a_release_resets_the_limit_of_starts(installed: Host) -> None:
    """Of the service, and of the socket that a request has ended meanwhile."""
    restart = f"systemctl restart {UNIT} || exit 0"
    installed.shell(f"for _ in 1 2 3 4 5 6; do {restart}; done; exit 1")
    installed.shell("! curl --silent --unix-socket /run/my-service.sock http://localhost/")
    told = installed.inside("systemctl", "show", "--property=Result", UNIT, "my-service.socket")
    assert told.split() == ["Result=start-limit-hit", "Result=service-start-limit-hit"]
    installed.install()
    assert installed.request("GET", "/readyz")[0] == 200


@once
def test_a_copy_of_the_database_is_put_back(installed: Host) -> None:
    installed.check_backup_and_restore()


@once
def test_a_build_that_fails_is_told_and_begun_again(installed: Host) -> None:
    before = installed.current_release()
    installed.shell(f"touch newest && git add newest && {COMMIT} newest")
    told = installed.shell("PIP_FIND_LINKS=/nowhere deploy/install.sh", status=1)
    release = installed.head_release()
    assert told.splitlines()[-1] == (
        f"install.sh: could not build the release {release}; see the error above"
    )
    assert installed.current_release() == before
    installed.install()
    assert installed.current_release() == release

"""install.sh on a booted Debian: releases, the way back, and what they find there."""

import re

import pytest

from . import failing
from .conftest import on_most, once
from .host import COMMIT, TURNS, UNIT, Host
from .test_boot import UNITS, exposure

# Another service, and what knows its name: the address of each is 10.89.0.1 (RFC 1035, section 4).
COLLECTOR = """
import http.server, socket, threading
site = http.server.ThreadingHTTPServer(("10.89.0.1", 8000), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=site.serve_forever, daemon=True).start()
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("10.89.0.1", 53))
while True:
    asked, client = names.recvfrom(512)
    end = asked.index(0, 12) + 5
    address = asked[end - 4 : end - 2] == bytes([0, 1])
    head = asked[:2] + bytes([0x81, 0x80, 0, 1, 0, address, 0, 0, 0, 0]) + asked[12:end]
    record = bytes([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 89, 0, 1])
    names.sendto(head + record * address, client)
"""
UNREACHED = (
    "call: Temporary failure in name resolution; Address family not supported by protocol; alone"
)


def sheet(host: Host) -> str:
    """Return the address of the style sheet that the page loads now."""
    status, page = host.ask("GET", "/")
    (address,) = re.findall(r'href="(/static/app\.\w+\.css)"', page)
    assert (status, host.ask("GET", address)[0]) == (200, 200)
    return str(address)


def called(host: Host) -> str:
    """Return what came of the service's newest attempt to call out, and if its trial had ended."""
    host.inside("journalctl", "--sync")
    newest = ["journalctl", f"--unit={UNIT}", "--output=cat", "--grep=^call: ", "--lines=1"]
    return host.inside(*newest).strip()


@on_most
@pytest.mark.event
def test_a_release_and_the_way_back(installed: Host) -> None:
    """From a tree without Git, to a host with seven releases; and what calling out takes."""
    before, tree = installed.current(), failing.lay_down(installed)
    (tree / ".env").write_text("no part of a release")
    failing.tell(installed, f"call {UNIT}")
    # The oldest by its time is the one that serves, and it is the one before afterwards.
    old = "mkdir 0 1 2 3 4 5 && touch -d '2 hours ago' [0-5] && touch -d yesterday"
    installed.typed(f"{old} {before}", place="/opt/my-service/releases")
    (tree / "src/my_service/static/app.css").write_text("main {}")
    (installed.machine.root / "etc/resolv.conf").write_text("nameserver 10.89.0.1\n")
    sheets = [sheet(installed)]
    with installed.machine.client("python3", "-c", COLLECTOR) as listener:
        try:
            with installed.under_load("release"):
                installed.typed(installed.section("Each release"), place=failing.TREE)
            release = installed.current()
            sheets.append(sheet(installed))
            assert re.fullmatch("[0-9a-f]{12}", release)
            assert ".env" not in installed.inside("ls", "-A", "/opt/my-service/current").split()
            kept = installed.inside("ls", "/opt/my-service/releases").split()
            assert len(kept) == 5
            assert {before, release} <= set(kept)
            assert called(installed) == UNREACHED
            with installed.under_load("release with --outbound, of the same tree"):
                installed.typed(installed.section("Calling out"), place=failing.TREE)
            assert called(installed) == "call: answered; answered; alone"
            assert exposure(installed) <= 1.2
        finally:
            listener.kill()
    mine = installed.machine.root / f"{UNITS[0][1:]}.d/mine.conf"
    mine.write_text("[Service]\nNice=1\n")
    (installed.machine.root / "srv/began").touch()
    with installed.under_load("roll-back, as the README says"):
        installed.typed(installed.section("Roll back").replace(" ID", f" {before}"))
    assert installed.current() == before
    # Whoever has loaded a page of either release can load what belongs to it.
    assert sheets[0] == sheet(installed) != sheets[1]
    assert [installed.ask("GET", each)[0] for each in sheets] == [200, 200]
    used = installed.typed("find * -maxdepth 0 -newer /srv/began", place="/opt/my-service/releases")
    assert set(used.split()) == {before, release}
    for _ in range(TURNS - 1):
        with installed.under_load("release"):
            installed.install("--release", release)
        with installed.under_load("roll-back, as the README says"):
            installed.install("--release", before)
    # What was switched on stays so until it is switched off.
    assert exposure(installed) > 0.4
    installed.install("--no-outbound", "--release", before)
    assert list(mine.parent.iterdir()) == [mine]
    assert exposure(installed) <= 0.4


@once
def test_a_release_resets_the_limit_of_starts(installed: Host) -> None:
    """Of the service, and of the socket that a request has ended meanwhile."""
    restart = f"systemctl restart {UNIT} || exit 0"
    installed.typed(f"for _ in 1 2 3 4 5 6; do {restart}; done; exit 1")
    installed.typed("! curl --silent --unix-socket /run/my-service.sock http://localhost/")
    told = installed.inside("systemctl", "show", "--property=Result", UNIT, "my-service.socket")
    assert told.split() == ["Result=start-limit-hit", "Result=service-start-limit-hit"]
    installed.install()
    assert installed.ask("GET", "/readyz")[0] == 200


@once
def test_a_copy_of_the_database_is_put_back(installed: Host) -> None:
    installed.copy_and_put_back()


@once
def test_a_build_that_fails_is_told_and_begun_again(installed: Host) -> None:
    before = installed.current()
    installed.typed(f"touch newest && git add newest && {COMMIT} newest")
    told = installed.typed("PIP_FIND_LINKS=/nowhere deploy/install.sh", status=1)
    release = installed.head()
    assert told.splitlines()[-1] == (
        f"install.sh: could not build the release {release}; see the error above"
    )
    assert installed.current() == before
    installed.install()
    assert installed.current() == release

"""install.sh on a booted Debian: releases and the way back, and what it refuses."""

import os
import re
import time

import pytest

from .conftest import once
from .host import SETTINGS, UNIT, Host
from .test_boot import UNITS, exposure

FAULT = "etc/my-service/fault"
# A release that fails as it is told, in the unit it is told: check runs in one named run-….
FAULTY = f"""

def create_app(settings: Settings, right=create_app) -> Bottle:
    import os, pathlib, socket, threading, time
    app = right(settings)
    fault, _, unit = pathlib.Path("/{FAULT}").read_text().strip().partition(" ")
    if unit not in pathlib.Path("/proc/self/cgroup").read_text():
        return app
    match fault:
        case "refuse":
            raise BootError([Problem("", "refuses", "this release")])
        case "hang":
            time.sleep(600)
        case "crash":
            threading.Timer(1.5, os._exit, [1]).start()
        case "request":
            app.wsgi = lambda environ, start_response: os._exit(1)
        case "call":
            try:
                socket.create_connection(("10.89.0.1", 8000), timeout=5)
                print("call: answered", flush=True)
            except OSError as error:
                print(f"call: {{error}}", flush=True)
    return app
"""
CHECK, TRIAL = "run-", "my-service-trial.service"
FAULTS = [
    ("refuse", CHECK, "this release: refuses", "it could not start"),
    ("hang", TRIAL, "timeout was exceeded", "it does not serve"),
    ("crash", TRIAL, "it does not serve", ""),
    ("request", TRIAL, "it does not serve", ""),
    ("hang", UNIT, "does not become ready", "go back to"),
    ("crash", UNIT, "does not stay ready", "go back to"),
]
FOREIGN = [
    "/etc/nginx/sites-available/my-service.conf",
    "/etc/nginx/snippets/my-service-proxy.conf",
    UNITS[0],
    "/etc/sysusers.d/my-service.conf",
]


def called(host: Host) -> str:
    """Return what came of the newest attempt of the service to call out."""
    return [line for line in host.journal() if (line or "").startswith("call: ")][-1]


def test_a_release_and_the_way_back(installed: Host) -> None:
    """From a tree without Git, to a host with seven releases; and what calling out takes."""
    before, tree = installed.current(), installed.machine.root / "srv/faulty"
    installed.typed("mkdir /srv/faulty && git archive HEAD | tar -x -C /srv/faulty")
    with (tree / "src/my_service/app.py").open("a") as app:
        app.write(FAULTY)
    (tree / ".env").write_text("no part of a release")
    (installed.machine.root / FAULT).write_text(f"call {UNIT}")
    # The oldest by its time is the one that serves, and it is the one before afterwards.
    old = "mkdir 0 1 2 3 4 5 && touch -d '2 hours ago' [0-5] && touch -d yesterday"
    installed.typed(f"{old} {before}", place="/opt/my-service/releases")
    with installed.machine.client(
        "python3", "-m", "http.server", "--bind", "10.89.0.1"
    ) as listener:
        try:
            with installed.under_load("release"):
                installed.typed(installed.section("Each release"), place="/srv/faulty")
            release = installed.current()
            assert re.fullmatch("[0-9a-f]{12}", release)
            assert ".env" not in installed.inside("ls", "-A", "/opt/my-service/current").split()
            kept = installed.inside("ls", "/opt/my-service/releases").split()
            assert len(kept) == 5
            assert {before, release} <= set(kept)
            assert called(installed) == "call: [Errno 97] Address family not supported by protocol"
            with installed.under_load("release with --outbound, of the same tree"):
                installed.typed(installed.section("Calling out"), place="/srv/faulty")
            assert called(installed) == "call: answered"
            assert exposure(installed) <= 1.2
        finally:
            listener.kill()
    mine = installed.machine.root / f"{UNITS[0][1:]}.d/mine.conf"
    mine.write_text("[Service]\nNice=1\n")
    with installed.under_load("roll-back, as the README says"):
        installed.typed(installed.section("Roll back").replace(" ID", f" {before}"))
    assert installed.current() == before
    assert list(mine.parent.iterdir()) == [mine]
    assert exposure(installed) <= 0.4


@pytest.fixture
def faulty(installed: Host) -> str:
    """Return the ID of the release that can fail, and an installer that waits less for it."""
    told = installed.install("--dry-run", place="/srv/faulty")
    installed.typed("sed s/^READY=15/READY=5/ deploy/install.sh >/srv/quick.sh")
    installed.typed("mkdir -p quick/deploy && mv quick.sh quick/deploy/install.sh", place="/srv")
    installed.inside("chmod", "+x", "/srv/quick/deploy/install.sh")
    (release,) = re.findall(r"^my-service: release ([0-9a-f]{12})$", told, re.MULTILINE)
    return str(release)


@pytest.mark.parametrize(("fault", "unit", "said", "ends"), FAULTS)
def test_a_release_that_fails_is_not_kept(
    installed: Host, faulty: str, fault: str, unit: str, said: str, ends: str
) -> None:
    """It is refused before the switch, or the way back is taken; only a crash costs POSTs."""
    before = installed.current()
    (installed.machine.root / FAULT).write_text(f"{fault} {unit}")
    killed = 16 if (fault, unit) == ("crash", UNIT) else 0
    with installed.under_load(f"release with the fault: {fault} in {unit}", killed=killed):
        told = installed.install("--release", faulty, status=1, place="/srv/quick")
    assert said in told
    assert ends in told
    assert installed.current() == before
    assert installed.show("ActiveState") == ["active"]
    assert installed.inside("systemctl", "list-units", "--plain", "--no-legend", "*trial*") == ""


@once
def test_files_that_nginx_refuses_are_taken_back(installed: Host, faulty: str) -> None:
    before, listing = installed.current(), installed.inside("cat", *FOREIGN)
    (process,) = installed.show("MainPID")
    (installed.machine.root / FAULT).write_text("none none")
    there = f"opt/my-service/releases/{faulty}/deploy/nginx/my-service-proxy.conf"
    broken = installed.machine.root / there
    broken.write_text(f"{broken.read_text()}no_such_directive on;\n")
    told = installed.install("--release", faulty, status=1)
    assert "Nginx refuses the release's files" in told
    assert installed.inside("cat", *FOREIGN) == listing
    assert (installed.current(), installed.show("MainPID")) == (before, [process])
    installed.inside("nginx", "-t")


@once
def test_wrong_calls_are_refused(installed: Host) -> None:
    before = installed.listing()
    for arguments, said in (
        (["--relase", "x"], "unknown argument '--relase'"),
        (["--release"], "--release wants the ID"),
        (["--release", "../current"], "there is no release '../current'"),
        (["--release", "0000000"], "there is no release '0000000'"),
    ):
        assert said in installed.install(*arguments, status=1)
    (installed.project / "new.py").touch()
    assert "commit the changes" in installed.install(status=1)
    (installed.project / "new.py").unlink()
    nobody = "runuser -u nobody -- deploy/install.sh"
    assert "only root can install" in installed.typed(nobody, status=1)
    assert installed.listing() == before


@once
@pytest.mark.parametrize("place", FOREIGN)
def test_what_is_not_its_own_is_left(installed: Host, place: str) -> None:
    file = installed.machine.root / place[1:]
    right = file.read_text()
    file.write_text(f"{right}# by hand\n")
    told = installed.install(status=1)
    assert f"{place} is not as a release has left it" in told
    assert file.read_text() == f"{right}# by hand\n"
    file.write_text(right)


@once
def test_settings_and_foreign_links_are_left(installed: Host) -> None:
    settings = installed.machine.root / SETTINGS
    settings.write_text(settings.read_text() + "LOG_LEVEL=INFO\n")
    installed.install()
    assert settings.read_text().endswith("LOG_LEVEL=INFO\n")
    enabled = "/etc/nginx/sites-enabled/my-service.conf"
    installed.inside("ln", "-sfn", "/dev/null", enabled)
    told = installed.install(status=1)
    installed.inside("ln", "-sfn", "../sites-available/my-service.conf", enabled)
    assert f"{enabled} leads elsewhere" in told


@once
def test_the_second_of_two_waits(installed: Host) -> None:
    began = time.monotonic()
    held = "flock /run/lock/my-service-install.lock sleep 4"
    told = installed.typed(f"{held} & sleep 1; deploy/install.sh")
    assert told.startswith("wait for another install.sh\n")
    assert time.monotonic() - began > 3


@once
def test_the_readme_names_every_place(installed: Host) -> None:
    places = re.findall(r"`(/(?:etc|opt|run|var)/[^`]*)`", installed.readme)
    for place in {place.replace("/ID", "") for place in places}:
        if "NAME" not in place and "outbound" not in place and not place.endswith(".d/"):
            assert os.path.lexists(installed.machine.root / place[1:]), place
    assert "/opt/my-service/releases" in places

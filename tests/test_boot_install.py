"""install.sh on a booted Debian: releases and the way back, and what it refuses."""

import re
import time
from pathlib import Path

import pytest

from .host import COMMIT, SETTINGS, UNIT, Host
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
        case "exit":
            os._exit(1)
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
    ("hang", TRIAL, "", "it does not serve"),
    ("exit", TRIAL, "", "it does not serve"),
    ("crash", TRIAL, "", "it does not serve"),
    ("request", TRIAL, "", "it does not serve"),
    ("hang", UNIT, "does not become ready", "go back to"),
    ("exit", UNIT, "does not become ready", "go back to"),
    ("crash", UNIT, "does not stay ready", "go back to"),
]
FOREIGN = [
    "/etc/nginx/sites-available/my-service.conf",
    "/etc/nginx/snippets/my-service-proxy.conf",
    UNITS[0],
    "/etc/sysusers.d/my-service.conf",
]


@pytest.fixture
def faulty(installed: Host) -> str:
    """Return the ID of a release that can fail. Its tree, beside the project, has no Git."""
    fault = installed.machine.root / FAULT
    tree = installed.machine.root / "srv/faulty"
    fault.write_text("none none")
    if not tree.exists():
        installed.typed("mkdir /srv/faulty && git archive HEAD | tar -x -C /srv/faulty")
        with (tree / "src/my_service/app.py").open("a") as app:
            app.write(FAULTY)
        (tree / ".env").write_text("no part of a release")
    told = installed.install("--dry-run", place="/srv/faulty")
    (release,) = re.findall(r"^my-service: release ([0-9a-f]{12})$", told, re.MULTILINE)
    if not (installed.machine.root / "opt/my-service/releases" / release).exists():
        before = installed.current()
        with installed.under_load("release, from a tree without Git"):
            installed.install(place="/srv/faulty")
        assert installed.current() == release
        assert ".env" not in installed.inside("ls", "-A", "/opt/my-service/current").split()
        with installed.under_load("roll-back"):
            installed.install("--release", before)
        assert installed.current() == before
    return str(release)


def test_a_release_and_the_way_back(installed: Host) -> None:
    before = installed.current()
    (view,) = installed.project.glob("src/*/views/home.tpl")
    view.write_text(view.read_text() + "    <p>Second release</p>\n")
    assert "commit the changes" in installed.install(status=1)
    assert installed.current() == before
    installed.typed(f"{COMMIT} second")
    with installed.under_load("release"):
        installed.typed(installed.section("Each release"))
    assert "Second release" in installed.ask("GET", "/")[1]
    assert installed.current() == installed.head()
    with installed.under_load("roll-back, as the README says"):
        installed.typed(installed.section("Roll back").replace(" ID", f" {before}"))
    assert "Second release" not in installed.ask("GET", "/")[1]
    assert installed.current() == before


@pytest.mark.parametrize(("fault", "unit", "said", "ends"), FAULTS)
def test_a_release_that_fails_is_not_kept(
    installed: Host, faulty: str, fault: str, unit: str, said: str, ends: str
) -> None:
    """It is refused before the switch, or the way back is taken; only a crash costs POSTs."""
    before = installed.current()
    (installed.machine.root / FAULT).write_text(f"{fault} {unit}")
    killed = 16 if (fault, unit) == ("crash", UNIT) else 0
    with installed.under_load(f"release with the fault: {fault} in {unit}", killed=killed):
        told = installed.install("--release", faulty, status=1)
    assert said in told
    assert ends in told
    assert installed.current() == before
    assert installed.show("ActiveState") == ["active"]
    assert installed.inside("systemctl", "list-units", "--plain", "--no-legend", "*trial*") == ""


def test_files_that_nginx_refuses_are_taken_back(installed: Host, faulty: str) -> None:
    before, listing = installed.current(), installed.inside("cat", *FOREIGN)
    (process,) = installed.show("MainPID")
    broken = (
        installed.machine.root
        / f"opt/my-service/releases/{faulty}/{'deploy/nginx/my-service-proxy.conf'}"
    )
    right = broken.read_text()
    broken.write_text(f"{right}no_such_directive on;\n")
    told = installed.install("--release", faulty, status=1)
    broken.write_text(right)
    assert "Nginx refuses the release's files" in told
    assert installed.inside("cat", *FOREIGN) == listing
    assert (installed.current(), installed.show("MainPID")) == (before, [process])
    installed.inside("nginx", "-t")


def test_five_releases_are_kept(installed: Host, faulty: str) -> None:
    releases = installed.machine.root / "opt/my-service/releases"
    before = installed.current()
    for number in range(6):
        installed.typed(
            f"mkdir {number} && touch -d '2 hours ago' {number}", place="/opt/my-service/releases"
        )
    # The oldest by its time is the one that serves, and it is the one before afterwards.
    installed.typed(f"touch -d '1 day ago' {before}", place="/opt/my-service/releases")
    installed.install("--release", faulty)
    kept = [path.name for path in releases.iterdir()]
    assert len(kept) == 5
    assert {before, faulty} <= set(kept)
    assert "there is no release '0'" in installed.install("--release", "0", status=1)
    installed.install("--release", before)
    assert len(list(releases.iterdir())) == 5


@pytest.mark.parametrize("place", FOREIGN)
def test_what_is_not_its_own_is_left(installed: Host, place: str) -> None:
    file = installed.machine.root / place[1:]
    right = file.read_text()
    file.write_text(f"{right}# by hand\n")
    assert f"{place} is not as a release has left it" in installed.install(status=1)
    assert file.read_text() == f"{right}# by hand\n"
    file.write_text(right)


def test_settings_and_foreign_links_are_left(installed: Host) -> None:
    settings = installed.machine.root / SETTINGS
    settings.write_text(settings.read_text() + "LOG_LEVEL=INFO\n")
    installed.install("--release", installed.current())
    assert settings.read_text().endswith("LOG_LEVEL=INFO\n")
    enabled = "/etc/nginx/sites-enabled/my-service.conf"
    installed.inside("ln", "-sfn", "../sites-available/default", enabled)
    assert f"{enabled} leads elsewhere" in installed.install(status=1)
    installed.inside("ln", "-sfn", "../sites-available/my-service.conf", enabled)


def test_the_second_of_two_waits(installed: Host) -> None:
    lock = "flock /run/lock/my-service-install.lock"
    began = time.monotonic()
    told = installed.typed(
        f"{lock} sleep 4 & sleep 1; deploy/install.sh --release {installed.current()}"
    )
    assert told.startswith("wait for another install.sh\n")
    assert time.monotonic() - began > 3


def test_the_service_calls_out_only_if_it_may(installed: Host, faulty: str) -> None:
    """Seen from the service itself, with a listener on the client's side of the network."""
    before = installed.current()
    (installed.machine.root / FAULT).write_text(f"call {UNIT}")
    listener = installed.machine.client("python3", "-m", "http.server", "--bind", "10.89.0.1")
    try:
        installed.install("--release", faulty)
        assert "call: [Errno 97] Address family not supported by protocol" in installed.journal(40)
        assert exposure(installed) <= 0.4
        installed.install("--release", faulty, "--outbound")
        assert "call: answered" in installed.journal(40)
        assert exposure(installed) <= 1.2
        foreign = installed.machine.root / f"{UNITS[0][1:]}.d/mine.conf"
        foreign.write_text("[Service]\nNice=1\n")
        installed.install("--release", before)
        assert [path.name for path in foreign.parent.iterdir()] == ["mine.conf"]
        assert exposure(installed) <= 0.4
        foreign.unlink()
        installed.inside("systemctl", "daemon-reload")
    finally:
        listener.kill()


def test_the_readme_names_every_place(installed: Host) -> None:
    places = re.findall(r"`(/(?:etc|opt|run|var)/[^`]*)`", installed.readme)
    for place in {place.replace("/ID", "") for place in places}:
        if "NAME" not in place and "outbound" not in place and not place.endswith(".d/"):
            assert (installed.machine.root / place[1:]).exists(), place
    assert Path("/opt/my-service/releases") in map(Path, [p.replace("/ID", "") for p in places])

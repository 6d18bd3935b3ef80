"""install.sh on a booted Debian: what it refuses, and what it leaves as it is."""

import os
import re
import time

import pytest

from .conftest import once
from .host import SETTINGS, Host
from .test_boot_install import FOREIGN


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

"""install.sh on a booted Debian: what it refuses, and what it leaves as it is."""

import os
import re

import pytest

from .host import FILES, SETTINGS, UNITS, Host
from .selection import once


@once
def test_wrong_calls_are_refused(installed: Host) -> None:
    before = installed.file_listing()
    for arguments, said in (
        (["--relase", "x"], "unknown argument '--relase'"),
        (["--release"], "--release requires the ID"),
        (["--release", "../current"], "release '../current' does not exist"),
        (["--release", "0000000"], "release '0000000' does not exist"),
    ):
        assert said in installed.install(*arguments, status=1)
    (installed.project / "new.py").touch()
    assert "uncommitted changes" in installed.install(status=1)
    (installed.project / "new.py").unlink()
    nobody = "runuser -u nobody -- deploy/install.sh"
    assert "root privileges are required" in installed.shell(nobody, status=1)
    assert installed.file_listing() == before


@once
@pytest.mark.parametrize("place", [*FILES, UNITS[0]])
def test_what_is_not_its_own_is_left(installed: Host, place: str) -> None:
    file = installed.machine.root / place[1:]
    right = file.read_text()
    file.write_text(f"{right}# by hand\n")
    told = installed.install(status=1)
    assert f"{place} was not installed by this script, or was modified" in told
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
    assert f"{enabled} does not link to " in told
    installed.shell("mv current kept && mkdir current", cwd="/opt/my-service")
    told = installed.install(status=1)
    installed.shell("rmdir current && mv kept current", cwd="/opt/my-service")
    assert "/opt/my-service/current is not a link to a release" in told
    static = "/var/lib/my-service-static"
    installed.shell(f"mv {static} /srv/ && mkdir {static} && touch {static}/of-somebody")
    told = installed.install(status=1)
    owner = installed.inside("stat", "--format=%U", static)
    installed.shell(f"rm -r {static} && mv /srv/my-service-static {static}")
    assert f"{static} was not written by collect-static" in told
    assert owner == "root\n"
    installed.inside("sed", "-i.right", "/^my-service:/s,:/var/lib/,:/home/,", "/etc/passwd")
    told = installed.install(status=1)
    installed.inside("mv", "/etc/passwd.right", "/etc/passwd")
    assert "the user my-service has the home /home/my-service" in told


@once
def test_another_default_server_is_left(installed: Host) -> None:
    """As the one of a second service from this template."""
    nginx = installed.machine.root / "etc/nginx"
    own = {port: nginx / f"snippets/my-service-default-{port}.conf" for port in ("80", "443")}
    installed.inside("rm", "-f", "/etc/nginx/sites-enabled/default")
    installed.install()
    before = [path.read_text() for path in own.values()]
    closed = "server {{ listen {} default_server; ssl_reject_handshake on; }}\n"
    site = nginx / "sites-enabled/second.conf"
    for place, listens, taken in (
        ("snippets/other.conf", "[::]:443 ssl", "443"),
        ("snippets/nobodys.conf", "443", ""),
        ("conf.d/other.conf", "127.0.0.9:80", "80"),
        ("sites-enabled/other.conf", "8443", ""),
        ("sites-enabled/other.conf", "8080; # listen 80 default_server;\n listen 8081", ""),
    ):
        (nginx / place).write_text(closed.format(listens))
        site.write_text("include snippets/other.conf;\n" if "s/other" in place else "")
        for path in own.values():
            path.unlink(missing_ok=True)
        installed.install()
        assert {port for port in own if not own[port].exists()} == set(filter(None, [taken]))
        (nginx / place).unlink()
    site.unlink()
    installed.install()
    assert [path.read_text() for path in own.values()] == before
    # Its own are none of another site: a release that has changed them brings them.
    changed = "cp -a . /srv/changed && rm -r /srv/changed/.git"
    name = "nginx/my-service-default-80.conf"
    installed.shell(f"{changed} && echo '# changed' >>/srv/changed/deploy/{name}")
    told = installed.install("--dry-run", tree="/srv/changed")
    assert f"would install /etc/{name.replace('nginx/', 'nginx/snippets/')}\n" in told


@once
def test_a_key_of_another_certificate_is_refused(installed: Host) -> None:
    """Before Nginx has to; so far the site had none."""
    tls = "/etc/my-service/tls"
    installed.shell(f"cp -a {tls} /srv/tls && openssl genrsa -out {tls}/privkey.pem 2048")
    installed.shell("rm my-service-tls.conf my-service-default-443.conf", cwd="/etc/nginx/snippets")
    before = installed.file_listing()
    told = installed.install(status=1)
    assert "does not match the key privkey.pem" in told
    assert installed.file_listing() == before
    installed.shell(f"nginx -t && rm -r {tls} && mv /srv/tls {tls}")
    installed.install()


@once
def test_a_debian_that_was_upgraded(installed: Host) -> None:
    """A release for a Python that is gone is built anew; the older Nginx's file is a release's too."""
    release, listen = installed.current_release(), "my-service-listen.conf"
    directory = f"/opt/my-service/releases/{release}"
    installed.shell(f"mv {directory}/.venv/lib/python3.13 {directory}/.venv/lib/python3.11")
    installed.inside("cp", f"{directory}/deploy/nginx/{listen}", "/etc/nginx/snippets/")
    told = installed.install("--release", release, status=1)
    assert "was built for another Python; install it from its sources" in told
    told = installed.install()
    assert f"build the release {release}" in told
    assert f"install /etc/nginx/snippets/{listen}" in told
    assert installed.request("GET", "/readyz")[0] == 200


@once
def test_a_dry_run_leaves_a_trial_alone(installed: Host) -> None:
    trial = "my-service-trial.service"
    installed.inside("systemd-run", "--quiet", f"--unit={trial}", "sleep", "600")
    installed.install("--dry-run")
    assert installed.inside("systemctl", "is-active", trial) == "active\n"
    installed.inside("systemctl", "stop", trial)


@once
def test_the_second_of_two_waits(installed: Host) -> None:
    held = "flock /run/lock/my-service-install.lock sh -c 'sleep 4; echo first'"
    told = installed.shell(f"{held} & sleep 1; deploy/install.sh").splitlines()
    assert told[:2] == ["wait for another install.sh", "first"]
    assert told[-1].startswith("my-service: release ")


@once
def test_the_readme_names_every_place(installed: Host) -> None:
    places = re.findall(r"`(/(?:etc|opt|run|var)/[^`]*)`", installed.readme)
    for place in {place.replace("/ID", "") for place in places}:
        if "NAME" not in place and "outbound" not in place and not place.endswith(".d/"):
            assert os.path.lexists(installed.machine.root / place[1:]), place
    assert "/opt/my-service/releases" in places

"""install.sh on a host: invalid calls, and files that it must not change."""

import os
import re

import pytest

from .host import FILES, SETTINGS, UNITS, Host
from .selection import once


@once
def test_invalid_arguments_are_rejected(installed: Host) -> None:
    before = installed.file_listing()
    for arguments, message in (
        (["--relase", "x"], "unknown argument '--relase'"),
        (["--release"], "--release requires the ID"),
        (["--release", "../current"], "release '../current' does not exist"),
        (["--release", "0000000"], "release '0000000' does not exist"),
    ):
        assert message in installed.install(*arguments, status=1)
    (installed.project / "new.py").touch()
    output = installed.install(status=1)
    assert "this tree has uncommitted changes; commit them, or list files" in output
    assert output.endswith(":\n?? new.py\n")
    (installed.project / "new.py").unlink()
    nobody = "runuser -u nobody -- deploy/install.sh"
    assert "root privileges are required" in installed.shell(nobody, status=1)
    assert installed.file_listing() == before


@once
@pytest.mark.parametrize("path", [*FILES, UNITS[0]])
def test_modified_file_is_not_overwritten(installed: Host, path: str) -> None:
    file = installed.machine.root / path[1:]
    original = file.read_text()
    file.write_text(f"{original}# by hand\n")
    output = installed.install(status=1)
    assert f"{path} was not installed by this script, or was modified" in output
    assert file.read_text() == f"{original}# by hand\n"
    (advice,) = re.findall(r"; make the change in deploy/\S+ of the project, run (.*), and", output)
    installed.shell(advice)
    installed.install("--release", installed.current_release())
    assert file.read_text() == original


@once
def test_settings_and_foreign_links_are_not_changed(installed: Host) -> None:
    settings = installed.machine.root / SETTINGS
    settings.write_text(settings.read_text() + "LOG_LEVEL=INFO\n")
    installed.install()
    assert settings.read_text().endswith("LOG_LEVEL=INFO\n")
    enabled = "/etc/nginx/sites-enabled/my-service.conf"
    installed.inside("ln", "-sfn", "/dev/null", enabled)
    output = installed.install(status=1)
    installed.inside("ln", "-sfn", "../sites-available/my-service.conf", enabled)
    assert f"{enabled} does not link to " in output
    installed.shell("mv current kept && mkdir current", cwd="/opt/my-service")
    output = installed.install(status=1)
    installed.shell("rmdir current && mv kept current", cwd="/opt/my-service")
    assert "/opt/my-service/current is not a link to a release" in output
    static = "/var/lib/my-service-static"
    installed.shell(f"mv {static} /srv/ && mkdir {static} && touch {static}/of-somebody")
    output = installed.install(status=1)
    owner = installed.inside("stat", "--format=%U", static)
    installed.shell(f"rm -r {static} && mv /srv/my-service-static {static}")
    assert f"{static} was not written by collect-static" in output
    assert owner == "root\n"
    installed.inside("sed", "-i.right", "/^my-service:/s,:/var/lib/,:/home/,", "/etc/passwd")
    output = installed.install(status=1)
    installed.inside("mv", "/etc/passwd.right", "/etc/passwd")
    assert "the user my-service has the home /home/my-service" in output


@once
def test_other_default_server_is_not_replaced(installed: Host) -> None:
    """Such as that of a second service from this template."""
    nginx = installed.machine.root / "etc/nginx"
    own = {port: nginx / f"snippets/my-service-default-{port}.conf" for port in ("80", "443")}
    installed.inside("rm", "-f", "/etc/nginx/sites-enabled/default")
    installed.install()
    before = [path.read_text() for path in own.values()]
    closed = "server {{ listen {} default_server; ssl_reject_handshake on; }}\n"
    site = nginx / "sites-enabled/second.conf"
    for name, listens, taken in (
        ("snippets/other.conf", "[::]:443 ssl", "443"),
        ("snippets/nobodys.conf", "443", ""),
        ("conf.d/other.conf", "127.0.0.9:80", "80"),
        ("sites-enabled/other.conf", "8443", ""),
        ("sites-enabled/other.conf", "8080; # listen 80 default_server;\n listen 8081", ""),
    ):
        (nginx / name).write_text(closed.format(listens))
        site.write_text("include snippets/other.conf;\n" if "s/other" in name else "")
        for path in own.values():
            path.unlink(missing_ok=True)
        installed.install()
        assert {port for port in own if not own[port].exists()} == set(filter(None, [taken]))
        (nginx / name).unlink()
    site.unlink()
    installed.install()
    assert [path.read_text() for path in own.values()] == before
    # The service's own default servers are not another site's: a release that changes them installs them.
    changed = "cp -a . /srv/changed && rm -r /srv/changed/.git"
    snippet = "nginx/my-service-default-80.conf"
    installed.shell(f"{changed} && echo '# changed' >>/srv/changed/deploy/{snippet}")
    output = installed.install("--dry-run", tree="/srv/changed")
    assert f"would install /etc/{snippet.replace('nginx/', 'nginx/snippets/')}\n" in output
    # A file that no release has installed.
    foreign = nginx / "snippets/my-service-new.conf"
    foreign.touch()
    installed.shell("echo '# new' >/srv/changed/deploy/nginx/my-service-new.conf")
    output = installed.install("--dry-run", tree="/srv/changed", status=1)
    foreign.unlink()
    assert "new.conf was not installed by this script, or was modified; back it up, rem" in output


@once
def test_key_of_another_certificate_is_rejected(installed: Host) -> None:
    """install.sh rejects the key before it changes a file. The site had no TLS before."""
    tls = "/etc/my-service/tls"
    installed.shell(f"cp -a {tls} /srv/tls && openssl genrsa -out {tls}/privkey.pem 2048")
    installed.shell("rm my-service-tls.conf my-service-default-443.conf", cwd="/etc/nginx/snippets")
    before = installed.file_listing()
    output = installed.install(status=1)
    assert "does not match the key privkey.pem" in output
    assert installed.file_listing() == before
    installed.shell(f"nginx -t && rm -r {tls} && mv /srv/tls {tls}")
    installed.install()


@once
def test_release_after_debian_upgrade_is_rebuilt(installed: Host) -> None:
    """install.sh rebuilds a release for a removed Python, and replaces the older Nginx's file."""
    release, listen = installed.current_release(), "my-service-listen.conf"
    directory = f"/opt/my-service/releases/{release}"
    installed.shell(f"mv {directory}/.venv/lib/python3.13 {directory}/.venv/lib/python3.11")
    installed.inside("cp", f"{directory}/deploy/nginx/{listen}", "/etc/nginx/snippets/")
    output = installed.install("--release", release, status=1)
    assert "was built for another Python; install it from its sources" in output
    output = installed.install()
    assert f"build the release {release}" in output
    assert f"install /etc/nginx/snippets/{listen}" in output
    assert installed.request("GET", "/readyz")[0] == 200


@once
def test_dry_run_does_not_stop_a_trial(installed: Host) -> None:
    trial = "my-service-trial.service"
    installed.inside("systemd-run", "--quiet", f"--unit={trial}", "sleep", "600")
    installed.install("--dry-run")
    assert installed.inside("systemctl", "is-active", trial) == "active\n"
    installed.inside("systemctl", "stop", trial)


@once
def test_second_install_waits_for_the_first(installed: Host) -> None:
    held = "flock /run/lock/my-service-install.lock sh -c 'sleep 4; echo first'"
    lines = installed.shell(f"{held} & sleep 1; deploy/install.sh").splitlines()
    assert lines[:2] == ["wait for another install.sh", "first"]
    assert lines[-1].startswith("my-service: release ")


@once
def test_readme_paths_exist(installed: Host) -> None:
    installed.inside("systemctl", "start", "my-service@backup")
    paths = re.findall(r"`(/(?:etc|opt|run|var)/[^`]*)`", installed.readme)
    for path in {path.replace("/ID", "") for path in paths}:
        if "NAME" not in path and "outbound" not in path and not path.endswith(".d/"):
            assert os.path.lexists(installed.machine.root / path[1:]), path
    assert "/opt/my-service/releases/ID" in paths

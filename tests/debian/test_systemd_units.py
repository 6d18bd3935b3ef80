"""systemd units: systemd's own verification and rating of the sandbox."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ..support.fixtures import Generate, Needs


@pytest.mark.parametrize("server", ["gunicorn", "waitress", "uwsgi"])
def test_systemd_verifies_the_units(
    generated: Generate, tmp_path: Path, needs: Needs, server: str
) -> None:
    """Verify the units with programs of this host in the place of the service's."""
    needs("systemd-analyze")
    deploy = generated(wsgi_server=server) / "deploy"
    # Verification requires that the programs exist.
    program = "(?<=^ExecStart=)/(?:opt/my-service/current/.venv/bin/python|usr/bin/uwsgi-core)"
    for unit in (*deploy.glob("systemd/*.so*"), *deploy.glob("*/*.service")):
        text = re.sub(program, shutil.which("env") or "", unit.read_text(), flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
    units = sorted(map(str, tmp_path.glob("*.*")))
    assert len(units) == (3 if server == "uwsgi" else 2)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        check=False,
        capture_output=True,
        text=True,
    )
    # Findings in the host's own units do not count.
    findings = [line for line in done.stderr.splitlines() if re.search("my-service|emperor", line)]
    assert (findings, done.returncode) == ([], 0)


def test_reload_runs_a_check_then_the_signal(generated: Generate) -> None:
    """ExecReload= first runs a check as the service's user, with its credentials."""
    text = (generated() / "deploy" / "systemd" / "my-service.service").read_text()
    check, signal = re.findall("^ExecReload=(.*)$", text, re.MULTILINE)
    python = "/opt/my-service/current/.venv/bin/python"
    assert check.endswith(
        f" CREDENTIALS_DIRECTORY=/run/credentials/%n {python} -m my_service check"
    )
    assert signal == "/bin/sh -c 'kill -HUP $MAINPID'"
    programs = re.findall(r"/(?:usr/)?bin/\w+", check.replace(python, ""))
    assert [Path(program).name for program in programs] == ["nsenter", "setpriv", "env"]
    assert all(map(os.path.exists, programs))


def test_systemd_finds_a_planted_mistake(tmp_path: Path, needs: Needs) -> None:
    needs("systemd-analyze")
    unit = tmp_path / "my-service.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nTimoutStopSec=60\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert re.search(r"my-service\.service:3: Unknown key .*'TimoutStopSec'", done.stderr)


# Lines that Nginx and an emperor lack, because they use the network, write files and change users.
NOT_DENIED = """
CapabilityBoundingSet= PrivateUsers=yes PrivateNetwork=yes ReadOnlyPaths=/run
TemporaryFileSystem=/dev/shm:mode=1777 ReadOnlyPaths=/dev/mqueue /dev/pts -/dev/hugepages
RestrictAddressFamilies=AF_UNIX RemoveIPC=yes SystemCallFilter=~@privileged @resources @setuid @keyring IPAddressDeny=any
"""


@pytest.mark.parametrize("file", ["systemd/nginx.conf", "uwsgi/emperor.uwsgi.service"])
def test_other_units_have_the_services_sandbox(generated: Generate, file: str) -> None:
    """test_sandbox.py tries each line."""
    deploy = generated(wsgi_server="uwsgi") / "deploy"
    sandbox = (deploy / "systemd/my-service.service").read_text().partition("# Sandbox\n")[2]
    denied = re.findall(r"^[A-Z]\w+=.*", sandbox.partition("[Install]")[0], re.MULTILINE)
    lines = re.findall(r"^[A-Z]\w+=.*", (deploy / file).read_text(), re.MULTILINE)
    assert " ".join(line for line in denied if line not in lines) == " ".join(NOT_DENIED.split())


# Settings that systemd recommends and the unit does not use, with the reason.
OPEN = {
    "RootDirectory=/RootImage=",  # the service runs the host's Python
    "PrivateMounts=",  # other settings imply it, which systemd 252 does not detect
    "RestrictAddressFamilies=~AF_UNIX",  # the service's socket
    "DeviceAllow=",  # ProtectClock= adds the clock, read-only
    "UMask=",  # the group may read the service's files
}


def test_sandbox_leaves_only_known_settings_open(generated: Generate, needs: Needs) -> None:
    """`systemd-analyze security` rates more than 70 settings."""
    needs("systemd-analyze")
    unit = generated() / "deploy" / "systemd" / "my-service.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--json=short", str(unit)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    checks = json.loads(done.stdout)
    assert len(checks) > 70
    assert {check["name"] for check in checks if check["set"] is False} <= OPEN

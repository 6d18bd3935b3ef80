"""The systemd units: systemd itself finds nothing wrong with them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.fixtures import Generate


@pytest.mark.parametrize("server", ["gunicorn", "waitress", "uwsgi"])
def test_systemd_finds_nothing_wrong(
    generated: Generate, tmp_path: Path, needs: Callable[..., None], server: str
) -> None:
    """`systemd-analyze verify` on the host layout, with the programs that the unit names."""
    needs("systemd-analyze")
    deploy = generated(wsgi_server=server) / "deploy"
    # Verification wants the programs to exist, which they do on the host.
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
    # What the host's own units are blamed for is not ours.
    ours = [line for line in done.stderr.splitlines() if re.search("my-service|emperor", line)]
    assert (ours, done.returncode) == ([], 0)


def test_what_a_reload_runs(generated: Generate) -> None:
    """A check as the service itself, with its credentials; then the signal."""
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


def test_a_mistake_would_be_found(tmp_path: Path, needs: Callable[..., None]) -> None:
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


# What Nginx and an emperor are not denied: they serve the network, write, and change to other users.
NOT_DENIED = """
CapabilityBoundingSet= PrivateUsers=yes PrivateNetwork=yes ReadOnlyPaths=/run
TemporaryFileSystem=/dev/shm:mode=1777 ReadOnlyPaths=/dev/mqueue /dev/pts -/dev/hugepages
RestrictAddressFamilies=AF_UNIX RemoveIPC=yes SystemCallFilter=~@privileged @resources @setuid @keyring IPAddressDeny=any
"""


@pytest.mark.parametrize("file", ["systemd/nginx.conf", "uwsgi/emperor.uwsgi.service"])
def test_others_are_denied_what_the_service_is(generated: Generate, file: str) -> None:
    """By lines that test_boot_sandbox.py tries one by one."""
    deploy = generated(wsgi_server="uwsgi") / "deploy"
    sandbox = (deploy / "systemd/my-service.service").read_text().partition("# Sandbox\n")[2]
    denied = re.findall(r"^[A-Z]\w+=.*", sandbox.partition("[Install]")[0], re.MULTILINE)
    lines = re.findall(r"^[A-Z]\w+=.*", (deploy / file).read_text(), re.MULTILINE)
    assert " ".join(line for line in denied if line not in lines) == " ".join(NOT_DENIED.split())


# What systemd would have closed too, and why it is not.
OPEN = {
    "RootDirectory=/RootImage=",  # it is the host's Python that runs
    "PrivateMounts=",  # others of the sandbox give it mounts of its own; 252 does not see that
    "RestrictAddressFamilies=~AF_UNIX",  # its socket
    "DeviceAllow=",  # the clock's, to be read: ProtectClock itself adds it
    "UMask=",  # what it writes may be read by its group
}


def test_what_the_sandbox_leaves_open(generated: Generate, needs: Callable[..., None]) -> None:
    """Of all that `systemd-analyze security` looks at."""
    needs("systemd-analyze")
    unit = generated() / "deploy" / "systemd" / "my-service.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--json=short", str(unit)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    checks = json.loads(done.stdout)
    assert len(checks) > 70
    assert {check["name"] for check in checks if check["set"] is False} <= OPEN

"""The systemd units: systemd itself finds nothing wrong with them."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Generate


@pytest.mark.parametrize("server", ["gunicorn", "waitress"])
def test_systemd_finds_nothing_wrong(
    generated: Generate, tmp_path: Path, needs: Callable[..., None], server: str
) -> None:
    """`systemd-analyze verify` on the host layout, with the programs that the unit names."""
    needs("systemd-analyze")
    project = generated(wsgi_server=server)
    for unit in (project / "deploy" / "systemd").glob("my-service.so*"):
        shutil.copy(unit, tmp_path)
    text = (project / "deploy" / "systemd" / "my-service.service").read_text()
    # Verification wants the program to exist, which it does on the host.
    python = "/opt/my-service/current/.venv/bin/python"
    assert python in text
    (tmp_path / "my-service.service").write_text(text.replace(python, shutil.which("env") or ""))
    units = [str(tmp_path / name) for name in ("my-service.service", "my-service.socket")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        check=False,
        capture_output=True,
        text=True,
    )
    # What the host's own units are blamed for is not ours.
    ours = [line for line in done.stderr.splitlines() if "my-service" in line]
    assert (ours, done.returncode) == ([], 0)


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


def test_exposure(generated: Generate, needs: Callable[..., None]) -> None:
    """The sandbox, as `systemd-analyze security` scores it: 0 is none, 10 is wide open."""
    needs("systemd-analyze")
    unit = generated() / "deploy" / "systemd" / "my-service.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert float(exposure) <= 0.6

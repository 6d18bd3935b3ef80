"""Checks of a systemd unit that a how-to page creates."""

import re
from pathlib import Path

from ..support.process import run


def check_unit(project: Path, directory: Path, name: str, *, credentials: bool = True) -> None:
    """Check that systemd reads the unit, and that its sandbox is that of the service.

    With `credentials`, the unit also has the secrets of the service.
    """
    service, unit = (
        (project / f"deploy/systemd/my-service{suffix}.service").read_text()
        for suffix in ("", f"-{name}")
    )
    copy = directory / f"my-service-{name}.service"
    copy.write_text(unit.replace("/opt/my-service/current", str(project)))
    assert run("systemd-analyze", "verify", copy, cwd=directory) == ""
    sandbox = service.partition("# Sandbox\n")[2].partition("[Install]")[0]
    rules = set(re.findall(r"(?m)^\w+=.*", sandbox))
    if credentials:
        rules |= set(re.findall(r"(?m)^\w+Credential=.*", service))
    assert not rules - set(unit.splitlines())

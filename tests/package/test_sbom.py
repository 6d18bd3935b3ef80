"""Software bill of materials: complete and reproducible; installation/test_sbom.py checks its schema."""

import json
import subprocess
import sys
from importlib.metadata import version

from . import SOURCES


def write() -> str:
    command = [sys.executable, "-B", "-m", "bottle_service.sbom"]
    return subprocess.run(command, cwd=SOURCES, check=True, capture_output=True, text=True).stdout


def test_bill_of_materials_lists_each_package_once() -> None:
    found = json.loads(write())["components"]
    names = [component["name"] for component in found]
    assert len(names) == len(set(names))
    assert {"python", "bottle", "msgspec", "prometheus-client"} <= set(names)
    (bottle,) = [component for component in found if component["name"] == "bottle"]
    assert bottle["purl"] == f"pkg:pypi/bottle@{version('bottle')}"


def test_bill_of_materials_is_reproducible() -> None:
    assert write() == write()

"""Software bill of materials: valid CycloneDX, complete, and reproducible."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from ..support.fixtures import Needs
from . import SOURCES

VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(str(error) if error else 0)
"""


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


def test_bill_of_materials_matches_the_schema(tmp_path: Path, needs: Needs) -> None:
    """By the library of CycloneDX, which has the schema."""
    needs("uv")
    tool = ["uv", "tool", "run", "--quiet", "--python", sys.executable]
    tool += ["--from", "cyclonedx-python-lib[json-validation]", "python", "-c", VALIDATE]
    done = subprocess.run(
        tool, input=write(), cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

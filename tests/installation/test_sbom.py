"""Software bill of materials of the package: valid CycloneDX."""

import subprocess
import sys
from pathlib import Path

from ..support.fixtures import Needs
from ..support.generate import PROJECT
from ..support.process import run

VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(str(error) if error else 0)
"""


def test_bill_of_materials_matches_the_schema(tmp_path: Path, needs: Needs) -> None:
    """By the library of CycloneDX, which has the schema."""
    needs("uv")
    write = [sys.executable, "-B", "-m", "bottle_service.sbom"]
    bill = run(*write, cwd=PROJECT / "src")
    tool = ["uv", "tool", "run", "--quiet", "--python", sys.executable]
    tool += ["--from", "cyclonedx-python-lib[json-validation]", "python", "-c", VALIDATE]
    done = subprocess.run(
        tool, input=bill, cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

"""Commands of the README that generate a project from the template's address, without a clone."""

from pathlib import Path

import pytest

from ..support.files import file_tree
from ..support.fixtures import Generate
from ..support.generate import TEMPLATE
from ..support.markdown import blocks
from ..support.process import run

COMMANDS = blocks(TEMPLATE, "README.md", "Generate without a clone")


@pytest.mark.parametrize("command", COMMANDS, ids=["cookiecutter", "cruft"])
def test_uvx_command_generates_the_project(
    template: Path, generated: Generate, tmp_path: Path, command: str
) -> None:
    address = tmp_path / "template.git"  # Cookiecutter requires "git" in an address
    address.symlink_to(template)
    script = f"exec < <(yes '')\n{command.replace('ADDRESS', f'file://{address}')}"
    run("bash", "-ec", script, cwd=tmp_path)
    project = file_tree(tmp_path / "my-service")
    assert (project.pop(".cruft.json", None) is not None) == ("cruft" in command)
    assert project == file_tree(generated())

"""Commands of the README that generate a project from the template's address, without a clone."""

from pathlib import Path

import pytest

from ..support.files import file_tree
from ..support.fixtures import Generate
from ..support.generate import TEMPLATE
from ..support.git import clone_address
from ..support.markdown import blocks
from ..support.process import run

COMMANDS = blocks(TEMPLATE, "README.md", "Generate without a clone")


@pytest.mark.parametrize("command", COMMANDS, ids=["cookiecutter", "cruft"])
def test_uvx_command_generates_the_project(
    template: Path, generated: Generate, tmp_path: Path, command: str
) -> None:
    """The README contains the template's URL, which cruft replaces by a path if it is of a file."""
    address = clone_address(template, tmp_path)
    script = f"exec < <(yes '')\n{command.replace('ADDRESS', address)}"
    run("bash", "-ec", script, cwd=tmp_path)
    project = file_tree(tmp_path / "my-service")
    assert (project.pop(".cruft.json", None) is not None) == ("cruft" in command)
    mode, readme = project["README.md"]
    project["README.md"] = mode, readme.replace(f" from {address}".encode(), b"")
    assert (readme != project["README.md"][1]) == ("cruft" not in command)
    assert project == file_tree(generated())

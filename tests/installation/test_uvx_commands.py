"""Commands of the README that generate a project from the template's address, without a clone."""

from pathlib import Path

from ..support.files import file_tree
from ..support.fixtures import Generate
from ..support.generate import TEMPLATE
from ..support.git import clone_address
from ..support.markdown import blocks
from ..support.process import run

(COMMAND,) = blocks(TEMPLATE, "README.md", "Generate without a clone")


def test_uvx_command_generates_the_linked_project(
    template: Path, generated: Generate, tmp_path: Path
) -> None:
    script = f"exec < <(yes '')\n{COMMAND.replace('ADDRESS', clone_address(template, tmp_path))}"
    run("bash", "-ec", script, cwd=tmp_path)
    project = tmp_path / "my-service"
    assert (project / ".cruft.json").exists()
    assert file_tree(project) == file_tree(generated())

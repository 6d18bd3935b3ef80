"""`make lint` checks the template's package as it lies, and leaves no file in the template's tree."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.generate import PROJECT
from ..support.git import commit, copy_working_tree, git

PACKAGE = Path(PROJECT.name, "src", "bottle_service")


@pytest.fixture(scope="module")
def linted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a committed copy of the template that `make lint` has accepted."""
    copy = copy_working_tree(tmp_path_factory.mktemp("lint") / "template")
    commit(copy, "All")
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    return copy


def lint(template: Path) -> "subprocess.CompletedProcess[str]":
    """Run `make lint` with the programs of this environment."""
    command = ["make", "-o", ".venv/ready", f"BIN={Path(sys.executable).parent}", "lint"]
    return subprocess.run(command, cwd=template, check=False, capture_output=True, text=True)


def test_make_lint_leaves_no_file_in_the_project(linted: Path) -> None:
    assert git("status", "--porcelain", "--ignored", PROJECT.name, cwd=linted) == ""


@pytest.mark.parametrize(
    ("file", "line", "found"),
    [
        (PACKAGE / "release.py", "\n\nrelease_id(3)", "[arg-type]"),
        (PACKAGE / "release.py", "import bottle", "F401"),
        (PACKAGE / "http/auth.py", "request.json", "TID251"),
        (PACKAGE / "release.py", "X=1", "would be reformatted"),
        (Path(PROJECT.name, "gunicorn.conf.py"), "forwarder_headers += 1", "[operator]"),
    ],
)
def test_mistake_in_a_file_without_jinja_is_found(
    linted: Path, tmp_path: Path, file: Path, line: str, found: str
) -> None:
    copy = Path(shutil.copytree(linted, tmp_path / "template"))  # with the cache of mypy
    with (copy / file).open("a") as source:
        source.write(f"{line}\n")
    done = lint(copy)
    assert done.returncode != 0
    assert found in done.stdout

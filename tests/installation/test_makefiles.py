"""Makefiles of the template and of a generated project: `.venv`, `make format`."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ..support.fixtures import Generate, Needs
from ..support.generate import TEMPLATE
from ..support.process import find_python, plain_path, run

LOCKS = ("requirements.txt", "requirements-dev.txt")


@pytest.fixture(params=["template", "project"])
def makefile(request: pytest.FixtureRequest, generated: Generate, tmp_path: Path) -> Path:
    """A directory with one of the two Makefiles, and locks of one package that needs no index."""
    source = TEMPLATE if request.param == "template" else generated()
    directory = tmp_path / "my-service"
    (directory / "src").mkdir(parents=True)
    (directory / "Makefile").write_text((source / "Makefile").read_text())
    wheel = tmp_path / "locked-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("locked.py", "")
        metadata = "locked-1.0.dist-info"
        archive.writestr(
            f"{metadata}/METADATA", "Metadata-Version: 2.1\nName: locked\nVersion: 1.0\n"
        )
        archive.writestr(f"{metadata}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{metadata}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for name in LOCKS:
        (directory / name).write_text(f"locked @ file://{wheel} --hash=sha256:{digest}\n")
    return directory


def make(directory: Path, *arguments: str, **environ: str) -> str:
    return run("make", *arguments, cwd=directory, **environ)


def import_locked(directory: Path) -> None:
    run(directory / ".venv/bin/python", "-c", "import locked", cwd=directory)


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_variables_of_pip_do_not_redirect_the_installation(
    makefile: Path, tmp_path: Path, tool: str
) -> None:
    path = plain_path() if tool == "pip" else os.environ["PATH"]
    for name in ("PIP_PREFIX", "PIP_TARGET", "PIP_USER"):
        value = "1" if name == "PIP_USER" else str(tmp_path / "elsewhere")
        make(makefile, "-B", ".venv/ready", **{"PATH": path, name: value})
        import_locked(makefile)
    assert not (tmp_path / "elsewhere").exists()


def test_directory_can_have_spaces_in_its_name(makefile: Path) -> None:
    directory = makefile.rename(makefile.parent / "My  own service")
    printed = make(directory, ".venv/ready", PATH=plain_path()).splitlines()[0]
    assert printed in ("setting up .venv", "setting up My  own service/.venv")
    import_locked(directory)


def test_another_python_sets_up_the_environment_again(makefile: Path, needs: Needs) -> None:
    own = f"3.{sys.version_info.minor}"
    versions = [version for version in ("3.11", "3.12", "3.13") if version != own]
    other = next(filter(None, map(find_python, versions)), "")
    needs(also=bool(other), reason=f"not installed: Python {' or '.join(versions)}")
    for python, rebuilt in ((sys.executable, True), (other, True), (other, False)):
        printed = make(makefile, ".venv/ready", f"PYTHON={python}")
        assert ("setting up" in printed) == rebuilt
        assert "not found" not in printed
        version = run(python, "-VV", cwd=makefile)
        assert run(makefile / ".venv/bin/python", "-VV", cwd=makefile) == version
    # Without PYTHON, the environment stays as it is.
    assert "setting up" not in make(makefile, ".venv/ready")


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_python_of_an_active_virtual_environment_is_taken(
    makefile: Path, tmp_path: Path, needs: Needs, tool: str
) -> None:
    versions = [f"3.{minor}" for minor in (12, 13, 11) if minor != sys.version_info.minor]
    python = next(filter(None, map(find_python, versions)), "")
    needs(also=bool(python), reason=f"not installed: Python {' or '.join(versions)}")
    active = tmp_path / "active"
    run(python, "-m", "venv", "--without-pip", active, cwd=tmp_path)
    path = plain_path() if tool == "pip" else os.environ["PATH"]
    make(makefile, ".venv/ready", PATH=f"{active}/bin{os.pathsep}{path}")
    version = run(python, "-VV", cwd=makefile)
    assert run(makefile / ".venv/bin/python", "-VV", cwd=makefile) == version


def test_make_lint_reports_that_shellcheck_is_missing(copied: Generate, tmp_path: Path) -> None:
    """shellcheck has no wheel for every platform, so the locks do not contain it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("ruff", "mypy", "lint-imports"):
        (programs / name).symlink_to(shutil.which("true") or "")
    project, make = copied(), shutil.which("make")
    assert make
    command = [make, "-o", ".venv/ready", f"BIN={programs}", "lint"]
    assert run(*command, cwd=project, PATH=str(programs)).startswith("not checked: ")
    (programs / "shellcheck").write_text('#!/bin/sh\necho "shellcheck $*" && exit 1\n')
    (programs / "shellcheck").chmod(0o755)
    with pytest.raises(AssertionError, match=r"shellcheck deploy/install\.sh"):
        run(*command, cwd=project, PATH=str(programs))


def test_make_format_formats_despite_a_finding(copied: Generate, tmp_path: Path) -> None:
    """In the template, ruff also formats the files of the generated project's package."""
    project = copied()
    template = tmp_path / "template"
    package = template / "{{cookiecutter.project_slug}}/src/bottle_service"
    package.mkdir(parents=True)
    (package.parents[1] / "gunicorn.conf.py").touch()
    (template / "Makefile").write_text((TEMPLATE / "Makefile").read_text())
    for directory in (project, template, package):
        (directory / "unformatted.py").write_text("import os\nnumber = {  1:undefined  }\n")
    for directory in (project, template):
        done = subprocess.run(
            ["make", "-o", ".venv/ready", f"BIN={Path(sys.executable).parent}", "format"],
            cwd=directory,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0
        assert "F821" in done.stdout
        assert (directory / "unformatted.py").read_text() == "number = {1: undefined}\n"
    assert (package / "unformatted.py").read_text() == "number = {1: undefined}\n"

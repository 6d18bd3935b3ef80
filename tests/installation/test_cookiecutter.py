"""Cookiecutter on other Pythons, and releases of it that are too old."""

import subprocess
from pathlib import Path

import pytest

from ..support.files import file_tree, nothing_written
from ..support.fixtures import Generate, Needs
from ..support.generate import TEMPLATE
from ..support.locks import without_hashes
from ..support.process import find_python, run


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_generation_on_each_python_is_identical(
    generated: Generate, tmp_path: Path, needs: Needs, version: str
) -> None:
    python = find_python(version)
    needs(also=python is not None, reason=f"there is no Python {version}")
    venv, pins = tmp_path / "venv", tmp_path / "pins.txt"
    pins.write_text(without_hashes((TEMPLATE / "requirements.txt").read_text()))
    run("uv", "venv", "--quiet", "--python", str(python), venv, cwd=tmp_path)
    install = ("uv", "pip", "install", "--quiet", "--python", venv, "--constraint", pins)
    run(*install, "cookiecutter", cwd=tmp_path)
    made: list[str | Path] = [venv / "bin" / "python", "-m", "cookiecutter", "--no-input", TEMPLATE]
    run(*made, cwd=tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert file_tree(tmp_path / "my-service") == file_tree(generated())


@pytest.mark.parametrize("release", ["1.7.3", "2.6.0"])
def test_old_cookiecutter_is_rejected(tmp_path: Path, release: str, needs: Needs) -> None:
    """Debian 12 has 1.7.3; 2.6.0 treats the word "no" as true."""
    old = tmp_path / "old"
    subprocess.run(["uv", "venv", "--quiet", old], check=True)
    install = ["uv", "pip", "install", "--quiet", "--python", str(old)]
    install += [f"cookiecutter=={release}", "setuptools<81"]
    done = subprocess.run(install, check=False, capture_output=True, text=True)
    needs(also=done.returncode == 0, reason=f"cookiecutter {release} cannot be had: {done.stderr}")
    work = tmp_path / "work"
    work.mkdir()
    with nothing_written(work):
        done = subprocess.run(
            [old / "bin" / "cookiecutter", "--no-input", str(TEMPLATE)], cwd=work, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode != 0
    assert f"cookiecutter {release} is too old: 2.7.1 or later is needed" in done.stderr

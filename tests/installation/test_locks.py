"""Locks: the template's, the generated project's, and those of `make lock` in a project."""

import itertools
import sys
from pathlib import Path

import pytest

from tools.lock import AXES, COMPILE, everything

from ..support.fixtures import Generate
from ..support.generate import CHOICES, TEMPLATE, Answers, name_of
from ..support.locks import without_hashes
from ..support.matrix import LARGEST, SMALLEST
from ..support.process import run

NAMES = ["requirements.txt", "requirements-dev.txt"]
COMBINATIONS = list(itertools.product(*(CHOICES[axis] for axis in AXES)))


def locks(project: Path) -> list[str]:
    """Return the texts of a project's locks."""
    return [(project / name).read_text() for name in NAMES]


@pytest.mark.parametrize(
    "answers", [dict(zip(AXES, values, strict=True)) for values in COMBINATIONS], ids=name_of
)
def test_make_lock_changes_nothing(copied: Generate, answers: Answers) -> None:
    """A project's own `make lock` writes the rendered locks again, at the same versions.

    The test removes the hashes, because uv would keep them. The index may have added hashes.
    """
    project = copied(**answers)
    before = locks(project)
    for name, lock in zip(NAMES, before, strict=True):
        (project / name).write_text(without_hashes(lock))
    run("make", "lock", cwd=project)
    for old, new in zip(before, locks(project), strict=True):
        assert without_hashes(new) == without_hashes(old)
        assert set(new.split()) >= set(old.split())


def test_own_lock_includes_all_projects(generated: Generate, tmp_path: Path) -> None:
    """The template's own lock is the resolution of its dependencies and those of all projects."""
    projects = [generated(**dict(zip(AXES, values, strict=True))) for values in COMBINATIONS]
    source, lock = tmp_path / "all.in", tmp_path / "requirements.txt"
    source.write_text(everything(projects))
    own = TEMPLATE / "requirements.txt"
    lock.write_text(own.read_text())
    run(*COMPILE, "--group", "dev", source, "-o", lock, cwd=TEMPLATE)
    assert lock.read_text() == own.read_text()


@pytest.mark.parametrize("answers", [SMALLEST, LARGEST], ids=name_of)
def test_service_starts_and_suite_passes_with_the_locks(copied: Generate, answers: Answers) -> None:
    """requirements.txt is enough for the service; the suite needs the other lock, too."""
    project = copied(**answers)
    python = project / ".venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", ".venv", cwd=project)
    install = ["uv", "pip", "install", "--quiet", "--python", str(python)]
    install += ["--require-hashes", "--only-binary", ":all:", "--requirements"]
    run(*install, "requirements.txt", cwd=project)
    settings = {"APP_ENV": "test", "API_TOKENS": f"tester:{'t' * 32}", "PYTHONPATH": "src"}
    if (project / "src" / "bottle_service" / "database").exists():
        run(python, "-m", "my_service", "migrate", cwd=project, **settings)
    assert "could start" in run(python, "-m", "my_service", "check", cwd=project, **settings)
    run(*install, "requirements-dev.txt", cwd=project)
    run(python, "-m", "pytest", cwd=project)

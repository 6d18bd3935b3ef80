"""Locks: the template's, the generated project's, and those of `make lock` in a project."""

import itertools
from pathlib import Path

import pytest

from tools.lock import AXES, COMPILE, everything, merge

from ..support.fixtures import Generate
from ..support.generate import CHOICES, PROJECT, TEMPLATE, Answers, name_of
from ..support.locks import without_hashes
from ..support.matrix import GROUPS
from ..support.process import run

NAMES = ["requirements.txt", "requirements-dev.txt"]
COMBINATIONS = list(itertools.product(*(CHOICES[axis] for axis in AXES)))


def locks(project: Path) -> list[str]:
    """Return the texts of a project's locks."""
    return [(project / name).read_text() for name in NAMES]


def test_template_locks_are_the_merged_locks(generated: Generate) -> None:
    """The rendered locks differ by AXES only, and merged they are the template's files."""
    for number, name in enumerate(NAMES):
        rendered: dict[tuple[str, ...], str] = {}
        for answers in GROUPS:
            lock = locks(generated(**answers))[number]
            assert rendered.setdefault(tuple(answers[axis] for axis in AXES), lock) == lock
        assert merge(rendered, CHOICES) == (PROJECT / name).read_text()


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

"""The locks: of one source, and what the generated project itself would make of them."""

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
    return [(project / name).read_text() for name in NAMES]


def test_the_template_has_what_make_lock_writes(generated: Generate) -> None:
    """The locks differ by the answers it knows, and put together are the template's files again."""
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
    """The rendered locks are what the project itself would make, but for newer releases.

    The hashes are asked for anew: uv would believe those that are there. An index may have more.
    """
    project = copied(**answers)
    before = locks(project)
    for name, lock in zip(NAMES, before, strict=True):
        (project / name).write_text(without_hashes(lock))
    run("make", "lock", cwd=project)
    for old, new in zip(before, locks(project), strict=True):
        assert without_hashes(new) == without_hashes(old)
        assert set(new.split()) >= set(old.split())


def test_the_tests_own_lock_is_of_everything(generated: Generate, tmp_path: Path) -> None:
    """It resolves what the template and all of its projects depend on, but for newer releases."""
    projects = [generated(**dict(zip(AXES, values, strict=True))) for values in COMBINATIONS]
    source, lock = tmp_path / "all.in", tmp_path / "requirements.txt"
    source.write_text(everything(projects))
    own = TEMPLATE / "requirements.txt"
    lock.write_text(own.read_text())
    run(*COMPILE, "--group", "dev", source, "-o", lock, cwd=TEMPLATE)
    assert lock.read_text() == own.read_text()

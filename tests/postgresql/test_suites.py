"""The generated suite on PostgreSQL, with each WSGI server."""

import re

import pytest

from ..support.fixtures import Generate, Needs
from ..support.generate import Answers, name_of
from ..support.matrix import POSTGRESQL
from ..support.postgresql import INSTALLED, Cluster
from ..support.process import check_types, run


@pytest.mark.parametrize("answers", POSTGRESQL, ids=name_of)
def test_suite_and_shared_cases_pass(
    copied: Generate, postgresql: Cluster, answers: Answers
) -> None:
    project = copied(**answers)
    run("ruff", "check", "--no-cache", cwd=project)
    run("ruff", "format", "--no-cache", "--check", cwd=project)
    url = postgresql.url("postgres")
    summary = run("pytest", "--color=no", cwd=project, TEST_DATABASE_URL=url)
    assert re.search(r"^[0-9]+ passed in", summary, re.MULTILINE), summary
    shared = run("pytest", "--server", "unix", cwd=project, TEST_DATABASE_URL=url)
    assert re.search(r"^[0-9]+ shared cases passed", shared, re.MULTILINE)
    left = postgresql.execute("SELECT datname FROM pg_database WHERE datname LIKE 'test_%'")
    assert left == []


def test_types_are_valid_and_suite_starts_its_own_server(copied: Generate, needs: Needs) -> None:
    needs(also=INSTALLED, reason="not installed: postgresql")
    project = copied(database="postgresql")
    check_types(project)
    run("shellcheck", *project.glob("deploy/**/*.sh"), cwd=project)
    tests = ("tests/test_notes.py", "tests/test_migrations.py")
    assert " passed in" in run("pytest", "--color=no", *tests, cwd=project)

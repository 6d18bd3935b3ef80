"""Several pages that are followed in one project."""

import pytest

from ..support.fixtures import Generate
from ..support.generate import Answers, name_of
from ..support.matrix import LARGEST, POSTGRESQL, SMALLEST
from ..support.postgresql import Cluster
from ..support.process import run
from .steps import DIRECTORY, SHOWN, check, edit, follow, read_steps

PAGES = (
    "split-routes.md",
    "existing-bottle-application.md",
    "metrics.md",
    "settings.md",
    "calling-services.md",
    "email.md",
    "identity-provider.md",
    "cache.md",
    "testing.md",
)
WITH_DATABASE = (
    "commands.md",
    "testing.md",
    "settings.md",
    "pages-and-forms.md",
    "safe-writes.md",
    "webhooks.md",
    "permissions.md",
    "files.md",
)
# Pages that the test of the places leaves out. The steps of migrations.md change what its own
# commands have written. The others change a line that login.md or opentelemetry.md changes, too,
# and describe both together.
LEFT_OUT = {"migrations", "existing-bottle-application", "identity-provider"}


@pytest.mark.parametrize(
    ("answers", "step"),
    [(SMALLEST, 1), (LARGEST, -1), (POSTGRESQL[0], 1)],
    ids=lambda value: name_of(value) if isinstance(value, dict) else str(value),
)
def test_steps_of_all_pages_have_their_places_in_any_order(
    copied: Generate, answers: Answers, step: int
) -> None:
    """No step removes the text that a later page names, or creates a file that exists."""
    project = copied(**answers)
    pages = sorted((project / DIRECTORY).iterdir())[::step]
    for page in [page for page in pages if page.stem not in LEFT_OUT]:
        for one in read_steps(page):
            if one.language not in SHOWN | {"sh"}:
                edit(project, one)
        # Unused imports of the page, which the formatter would remove.
        run("ruff", "check", "--select=F401", cwd=project)
        run("ruff", "check", "--fix", cwd=project)
        run("ruff", "format", cwd=project)


def test_pages_can_be_followed_in_one_project(copied: Generate) -> None:
    project = copied(**SMALLEST)
    for page in PAGES:
        follow(project, page)
    check(project)
    run("make", "test-server", cwd=project)


def test_pages_can_be_followed_in_one_project_with_a_database(
    copied: Generate, postgresql: Cluster
) -> None:
    project = copied(database="postgresql")
    url = postgresql.url(postgresql.create_database())
    for page in WITH_DATABASE:
        follow(project, page, DATABASE_URL=url)
    server = {"TEST_DATABASE_URL": postgresql.url("postgres")}
    check(project, **server)
    run(".venv/bin/pytest", "--server", "tcp", cwd=project, **server)

"""docs/how-to/permissions.md."""

from ..support.fixtures import Generate
from ..support.process import run
from .steps import check, follow


def test_clients_see_their_own_rows_and_roles_are_checked(copied: Generate) -> None:
    project = copied()
    follow(project, "permissions.md")
    check(project, "tests/test_expenses.py")
    run(".venv/bin/pytest", "--server", "unix", "tests/test_expenses.py", cwd=project)

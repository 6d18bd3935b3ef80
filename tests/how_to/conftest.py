"""Order of the how-to pages' tests."""

from pathlib import Path

import pytest

from ..support.order import sort_modules

# The longest ones come first, so that no core is idle at the end.
FIRST = ("together", "migrations", "container", "task_queue", "login", "diagnosis", "tracing")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first."""
    sort_modules(items, Path(__file__).parent, FIRST)

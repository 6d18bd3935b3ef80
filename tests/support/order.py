"""Order of the modules of a folder of tests."""

from collections.abc import Sequence
from pathlib import Path

import pytest


def sort_modules(items: list[pytest.Item], folder: Path, order: Sequence[str]) -> None:
    """Sort the folder's tests by the order of their modules; the others come after these."""

    def place(item: pytest.Item) -> int:
        name = item.path.stem.removeprefix("test_")
        return order.index(name) if name in order else len(order)

    own = iter(sorted((item for item in items if item.path.parent == folder), key=place))
    items[:] = [next(own) if item.path.parent == folder else item for item in items]

"""docs/how-to/safe-writes.md."""

from ..support.fixtures import Generate
from .steps import check, follow


def test_books_are_written_safely(copied: Generate) -> None:
    project = copied()
    follow(project, "safe-writes.md")
    check(project, *(f"tests/test_{name}.py" for name in ("books", "reservations", "shelves")))

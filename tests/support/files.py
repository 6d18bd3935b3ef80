"""Directory trees: their content, and the check that nothing was written."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


def file_tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return the mode and content of each file by its relative path, without bytecode and the link."""
    return {
        path.relative_to(directory).as_posix(): (path.stat().st_mode, path.read_bytes())
        for path in directory.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.name != ".cruft.json"
    }


@contextlib.contextmanager
def nothing_written(directory: Path) -> Iterator[None]:
    """Check that no path below the directory appears or disappears meanwhile."""
    before = set(directory.rglob("*"))
    yield
    assert set(directory.rglob("*")) == before

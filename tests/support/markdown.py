"""The documents' blocks of code, for the tests that run them as they stand."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """What stands between two fences: under which heading, in which language."""

    title: str
    language: str
    text: str


def read(document: Path) -> Iterator[Block]:
    """Yield the blocks of a Markdown file; those above the first section have an empty title."""
    title, fence, lines = "", None, list[str]()
    for line in document.read_text().splitlines(keepends=True):
        if fence is None and line.startswith("## "):
            title = line.removeprefix("## ").strip()
        elif line.startswith("```"):
            if fence is not None:
                yield Block(title, fence, "".join(lines))
            fence, lines = (line.strip("`\n") if fence is None else None), []
        elif fence is not None:
            lines.append(line)


def blocks(root: Path, name: str, title: str | None = None, language: str = "sh") -> list[str]:
    """Return the blocks in this language, of one section or of the whole document.

    A call with literal arguments is how a test says that it runs them: see test_documents.py.
    """
    found = [block for block in read(root / name) if block.language == language]
    return [block.text for block in found if title in (None, block.title)]

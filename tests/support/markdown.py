"""Code blocks of Markdown documents, for the tests that run them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced code block: its section, its language and its text."""

    title: str
    language: str
    text: str


def read_blocks(document: Path) -> Iterator[Block]:
    """Yield the code blocks of a document, also of a list in it.

    Blocks above the first section have an empty title.
    """
    title, fence, indent, lines = "", None, 0, list[str]()
    for line in document.read_text().splitlines(keepends=True):
        if fence is None and line.startswith("## "):
            title = line.removeprefix("## ").strip()
        elif line.lstrip().startswith("```"):
            if fence is not None:
                yield Block(title, fence, "".join(lines))
            fence, lines = (line.strip("` \n") if fence is None else None), []
            indent = line.index("`")
        elif fence is not None:
            lines.append(line[indent:] if line.strip() else line)


def blocks(root: Path, name: str, title: str | None = None, language: str = "sh") -> list[str]:
    """Return the code blocks in this language, of one section or of the whole document.

    project/test_documents.py takes each call with literal arguments as a test that runs the blocks.
    """
    found = [block for block in read_blocks(root / name) if block.language == language]
    return [block.text for block in found if title in (None, block.title)]

"""Count noun clauses and avoided words in the project's prose: `python -m tools.prose`.

A noun clause stands for a noun and begins with `what`, `whatever`, `who` or `whoever`. The avoided words have
a more usual replacement. The report lists the files with either of them, first the documents, then the comments and
docstrings of the sources.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TEMPLATE = Path(__file__).parents[1]
PROJECT = "{{cookiecutter.project_slug}}"
DOCUMENTS = ("*.md", "docs/**/*.md", f"{PROJECT}/**/*.md")
SOURCES = (
    *(f"{directory}/**/*.py" for directory in ("bench", "hooks", "tests", "tools")),
    "templates/install/*.sh",
    f"{PROJECT}/*.[!m]*",
    f"{PROJECT}/[st]*/**/*.py",  # src, tests
    f"{PROJECT}/deploy/**/*.[!m]*",
)

CLAUSES = (
    r"\b(?:what(?:ever)?|whoever)\b(?! to\b)|(?:[.:;,|(]|\b(?:and|by|for|from|of|or|to)) who\b"
)
WORDS = r"\b(?:told|anew|mend(?:s|ed|ing)?|by itself|(?:is|are|was) no|the way back|stands|beside|blank|take over)\b"
JINJA = r"# <%.*?%>|\{\{.*?\}\}"
QUOTED = r"```.*?^```|`[^`\n]*`|\]\([^)]*\)|\"[^\"\n]*\""  # code, addresses of links, quotations
PROSE = r'^\s*"""(.*?)"""|(?:^|\s)[#;]+ ([^\n]*)'  # docstrings, comments


class Count(NamedTuple):
    """Numbers of words, noun clauses and avoided words."""

    words: int
    clauses: int
    avoided: int

    def clauses_per_1000(self) -> float:
        return 1000 * self.clauses / max(1, self.words)


def count(text: str) -> Count:
    """Count in a Markdown text without its code, quotations and questions."""
    plain = " ".join(re.sub(QUOTED, "code", text, flags=re.DOTALL | re.MULTILINE).split())
    plain = re.sub(r"[^.:|]*\?", "", f". {plain}")
    found = (re.findall(pattern, plain, re.IGNORECASE) for pattern in (CLAUSES, WORDS))
    return Count(len(plain.split()), *map(len, found))


def prose(path: Path) -> str:
    """Return the text of a document, or the docstrings and comments of a source, without Jinja."""
    text = re.sub(JINJA, "", path.read_text())
    if path.suffix == ".md":
        return text
    parts = re.findall(PROSE, text, re.DOTALL | re.MULTILINE)
    return "\n".join(docstring or comment for docstring, comment in parts)


def counts(patterns: tuple[str, ...]) -> Iterator[tuple[str, Count]]:
    """Yield the path and the count of each file, then those of all files together."""
    paths = {path for pattern in patterns for path in TEMPLATE.glob(pattern) if path.is_file()}
    found = {path.relative_to(TEMPLATE).as_posix(): count(prose(path)) for path in sorted(paths)}
    yield from found.items()
    yield f"all {len(found)} files", Count(*map(sum, zip(*found.values(), strict=True)))


def main() -> None:
    for title, patterns in (("documents", DOCUMENTS), ("sources", SOURCES)):
        print(f"| {title} | words | noun clauses | per 1 000 words | avoided words |")
        print("|---|---|---|---|---|")
        for name, found in counts(patterns):
            if found.clauses or found.avoided:
                figures = f"{found.clauses} | {found.clauses_per_1000():.1f} | {found.avoided}"
                print(f"| {name} | {found.words} | {figures} |")


if __name__ == "__main__":
    main()

"""Steps of a how-to page: each code block, and the sentence above it that says where it belongs."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..support.process import run
from ..support.shared_directory import locked, shared_directory
from ..support.shared_venv import use_shared_venv

DIRECTORY = "docs/how-to"
# The sentences, in the order in which they are tried. `text` is a part of one line of the file.
CREATE = r"Create `(?P<path>[^`]+)`"
APPEND = r"Add .*to the end of `(?P<path>[^`]+)`"
AFTER = r"In `(?P<path>[^`]+)`.* below `(?P<text>[^`]+)`"
BEFORE = r"In `(?P<path>[^`]+)`.* above `(?P<text>[^`]+)`"
REPLACE = r"In `(?P<path>[^`]+)`, replace the line with `(?P<text>[^`]+)`"
DOCSTRING = r"below the docstring of `(?P<path>[^`]+)`"
# Languages of blocks that are not applied: output, and commands of a host.
SHOWN = {"text", "json", "bash"}


class Step(NamedTuple):
    """A code block, with the last sentence of the paragraph above it."""

    sentence: str
    language: str
    text: str


def read_steps(page: Path) -> Iterator[Step]:
    """Yield the steps of a page."""
    fence = r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$"
    document, end = page.read_text(), 0
    for block in re.finditer(fence, document, re.DOTALL | re.MULTILINE):
        paragraph = " ".join(document[end : block.start()].rstrip().rpartition("\n\n")[2].split())
        end = block.end()
        text = re.sub(rf"(?m)^{block['indent']}", "", block["text"])
        yield Step(re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)[-1], block["language"], text)


def follow(
    project: Path,
    name: str,
    after_command: Callable[[str], None] = lambda _command: None,
    **environ: str,
) -> list[str]:
    """Follow a page from top to bottom as its reader does, and return the output of each command.

    The project has a virtual environment and a token, as after `make run`. `environ` is added to the
    environment of the commands. `after_command` is called with the text of each block of commands
    that has run.
    """
    set_up(project)
    outputs = []
    for step in read_steps(project / DIRECTORY / name):
        if step.language == "sh":
            outputs.append(run("sh", "-euc", step.text, cwd=project, **environ))
            after_command(step.text)
        elif step.language not in SHOWN:
            edit(project, step)
    return outputs


def set_up(project: Path) -> None:
    """Give the project a virtual environment and a token, as `make run` does, unless it has them."""
    if not (project / ".venv").exists():
        use_shared_venv(project)
        (project / ".env").write_text(f"API_TOKENS=dev:{'s' * 32}\n")


def edit(project: Path, step: Step) -> None:
    """Write the block where the sentence says. Raises AssertionError if there is no such place."""
    for pattern in (CREATE, APPEND, DOCSTRING, AFTER, BEFORE, REPLACE):
        if found := re.search(pattern, step.sentence):
            break
    else:
        raise AssertionError(f"no place for the block: {step.sentence}")
    path = project / found["path"]
    if pattern == CREATE:
        assert not path.exists(), f"{found['path']} exists: {step.sentence}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.text)
        return
    lines = path.read_text().splitlines(keepends=True)
    if pattern == APPEND:
        separator = "\n\n" if path.suffix == ".py" else ""
        path.write_text("".join([*lines, separator, step.text]))
        return
    if pattern == DOCSTRING:
        lines.insert(ast.parse("".join(lines)).body[0].end_lineno or 0, step.text)
        path.write_text("".join(lines))
        return
    matching = [number for number, line in enumerate(lines) if found["text"] in line]
    assert len(matching) == 1, f"{len(matching)} lines of {path} match: {step.sentence}"
    start = matching[0] + (pattern == AFTER)
    lines[start : matching[0] + (pattern != BEFORE)] = [step.text]
    path.write_text("".join(lines))


def check(project: Path, *tests: str, **environ: str) -> None:
    """Run the checks of the project after its owner followed a page.

    Of the suite only these tests, if any, for a page with which test_together.py runs all of it.
    The pages share a cache of mypy, which only one process at a time may use.
    """
    run("make", "format", cwd=project)
    with locked("mypy"):
        run("make", "lint", cwd=project, MYPY_CACHE_DIR=str(shared_directory() / "mypy"))
    run(".venv/bin/pytest", *tests, cwd=project, **environ)

"""The template under test: its answers, their combinations, and how a project is made of them."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter

from .faults import Fault

TEMPLATE = Path(__file__).parents[1]
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
CONTEXT = json.loads((TEMPLATE / "cookiecutter.json").read_text())
PUBLIC = [name for name in CONTEXT if not name.startswith("_")]
CHOICES = {name: CONTEXT[name] for name in PUBLIC if isinstance(CONTEXT[name], list)}

Answers = dict[str, str]

COMBINATIONS = [
    Answers(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())
]


def name_of(answers: Answers) -> str:
    return "-".join(answers.values())


def generate(directory: Path, answers: Answers) -> Path:
    """Make a project in the directory, in this process; with a fault if the environment has one."""
    made = cookiecutter(
        str(TEMPLATE), no_input=True, extra_context=answers, output_dir=str(directory)
    )
    if fault := Fault.from_environ():
        fault.put_into(Path(made))
    return Path(made)


def cookiecut(
    directory: Path, *arguments: str, answers: Answers | None = None, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Cookiecutter as a user does: without questions, or with these lines typed."""
    given = [f"{name}={value}" for name, value in (answers or {}).items()]
    quiet = [] if typed is not None else ["--no-input"]
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", *quiet, *arguments, str(TEMPLATE), *given],
        cwd=directory,
        input=typed,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """Run a program that must succeed, and return what it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environ},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}"
    return done.stdout


def logged(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return the lines of a service's log, but for what uWSGI says before it has read how they look."""
    return [json.loads(line) for line in lines if not line.startswith(("[", "running"))]


@contextlib.contextmanager
def nothing_written(directory: Path) -> Iterator[None]:
    before = set(directory.rglob("*"))
    yield
    assert set(directory.rglob("*")) == before

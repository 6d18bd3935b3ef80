"""The template under test: its prompts, its choices, and projects generated from it."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import CodeType

from cookiecutter.main import cookiecutter
from jinja2 import Environment

TEMPLATE = Path(__file__).parents[2]
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
CONTEXT = json.loads((TEMPLATE / "cookiecutter.json").read_text())
PUBLIC = [name for name in CONTEXT if not name.startswith("_")]
CHOICES = {name: CONTEXT[name] for name in PUBLIC if isinstance(CONTEXT[name], list)}

Answers = dict[str, str]

COMBINATIONS = [
    Answers(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())
]


def name_of(answers: Answers) -> str:
    """Return the test ID of a combination."""
    return "-".join(answers.values())


def compile_templates_once() -> None:
    """Compile each of Jinja's templates once in this process: compiling takes most of a generation."""
    original = Environment.compile
    compiled: dict[tuple[object, ...], CodeType] = {}

    def compile_once(
        environment: Environment, source: str, name: str | None = None, filename: str | None = None
    ) -> CodeType:
        # Environments with equal options have the same lexer.
        key = (source, name, filename, environment.lexer, Environment._parse)
        if key not in compiled:
            compiled[key] = original(environment, source, name, filename)
        return compiled[key]

    Environment.compile = compile_once  # type: ignore[assignment,method-assign]


def generate(directory: Path, answers: Answers, address: str = str(TEMPLATE)) -> Path:
    """Generate a project in the directory, in this process, from the template at this address.

    Without an address, the project is not linked: whether it could be depends on this clone.
    """
    project = Path(
        cookiecutter(address, no_input=True, extra_context=answers, output_dir=str(directory))
    )
    if address == str(TEMPLATE):
        (project / ".cruft.json").unlink(missing_ok=True)
    return project


def run_cookiecutter(
    directory: Path, *arguments: str, answers: Answers | None = None, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the `cookiecutter` command: without prompts, or with these lines typed."""
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

"""Ask for the answers, show them, and generate once they are confirmed: `make new`.

Questions, defaults and checks are the template's own, asked by Cookiecutter's functions. The
`cookiecutter` command asks each once and forgets all of them when one is wrong; here a wrong
answer is asked for again at once, and any may be changed before something is written.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cookiecutter.config import get_user_config
from cookiecutter.exceptions import CookiecutterException
from cookiecutter.generate import generate_context
from cookiecutter.main import cookiecutter
from cookiecutter.prompt import prompt_for_config, read_user_choice, read_user_variable
from rich.prompt import Prompt

from hooks.pre_gen_project import problems

TEMPLATE = Path(__file__).parents[1]


class Form:
    """The questions and the answers so far; the other answers have defaults that depend on them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._defaults = dict(of_git()) | get_user_config()["default_context"]
        self._given: dict[str, str] = {}
        self.names = [name for name in self._context() if not name.startswith("_")]

    def _context(self) -> dict[str, Any]:
        """Return cookiecutter.json with the user's defaults and the answers in their places."""
        questions = str(TEMPLATE / "cookiecutter.json")
        return dict(generate_context(questions, self._defaults, self._given)["cookiecutter"])

    def answers(self) -> dict[str, str]:
        every = prompt_for_config({"cookiecutter": self._context()}, no_input=True)
        return {name: every[name] for name in self.names}

    def project(self) -> Path:
        return self.directory / self.answers()["project_slug"]

    def problems(self) -> Iterator[str]:
        yield from problems(self.answers())
        if os.path.lexists(self.project()):
            yield (
                f"project_slug is taken: {self.project()} exists and is left alone; "
                "give another name, or another place: make new TO=directory"
            )

    def ask(self, name: str) -> None:
        """Ask until the answer is right. Raises KeyboardInterrupt and EOFError."""
        while True:
            context = self._context()
            place = f"  [dim][{self.names.index(name) + 1}/{len(self.names)}][/] "
            if isinstance(context[name], list):
                answer = read_user_choice(name, context[name], context["__prompts__"], place)
                self._given[name] = answer
            else:
                default = self.answers()[name]
                answer = read_user_variable(name, default, context["__prompts__"], place)
                if answer != default:
                    self._given[name] = literal(answer)
            wrong = [problem for problem in self.problems() if problem.startswith(f"{name} ")]
            if not wrong:
                return
            self._given.pop(name, None)
            print("\n".join(f"        {problem}" for problem in wrong))

    def to_change(self) -> list[str]:
        """Show the answers and return the one that shall be another, or none.

        Raises KeyboardInterrupt if no project is wanted.
        """
        print(f"\n  {self.project()}\n")
        for number, (name, answer) in enumerate(self.answers().items(), 1):
            print(f"  {number:4}  {name:14}{answer}")
        print()
        while True:
            reply = Prompt.ask(
                "  Generate it? (y, n, or the number of an answer to change)", default="y"
            )
            if reply.lower() in ("y", "yes"):
                return []
            if reply.lower() in ("n", "no"):
                raise KeyboardInterrupt
            if reply.isdecimal() and 0 < int(reply) <= len(self.names):
                return [self.names[int(reply) - 1]]
            print("        y generates, n cancels, a number asks again; nothing is written yet")

    def generate(self) -> None:
        """Write the project, or leave nothing of it. Raises the exceptions of Cookiecutter."""
        answers = {name: literal(answer) for name, answer in self.answers().items()} | self._given
        try:
            cookiecutter(
                str(TEMPLATE), no_input=True, extra_context=answers, output_dir=str(self.directory)
            )
        except (KeyboardInterrupt, OSError):
            shutil.rmtree(self.project(), ignore_errors=True)
            raise


def literal(text: str) -> str:
    """Return Jinja that renders to this text, because Cookiecutter renders its input."""
    return f"{{{{ {text!r} }}}}"


def of_git() -> Iterator[tuple[str, str]]:
    """Yield the author's name and address of Git's configuration."""
    for answer, name in (("author_name", "user.name"), ("author_email", "user.email")):
        done = subprocess.run(["git", "config", name], check=False, capture_output=True, text=True)
        if done.stdout.strip():
            yield answer, literal(done.stdout.strip())


def main(directory: Path) -> None:
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        sys.exit(
            f"ERROR: {there} is not a directory that you can write to; name another: make new TO="
        )
    form = Form(directory)
    wanted = form.names
    while wanted:
        for name in wanted:
            form.ask(name)
        wrong = {problem.split()[0] for problem in form.problems()}
        wanted = [name for name in form.names if name in wrong] or form.to_change()
    form.generate()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]).expanduser().resolve())
    except (KeyboardInterrupt, EOFError):
        sys.exit("\n\nNothing was written.")
    except (CookiecutterException, OSError) as problem:
        sys.exit(f"ERROR: {problem}; nothing was written.")

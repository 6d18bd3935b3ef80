"""Mutants of deploy files: operators that change a line, and the tests that have to kill the mutant.

MUTANT in the environment holds one mutant, as `Mutant.environ` writes it. Every project that the
`generated` fixture makes then has this mutant.
"""

import ast
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

from ..support.generate import PROJECT
from ..support.git import copy_working_tree

TESTS = Path(__file__).parents[1]
# The projects whose files are mutated. Other combinations add no line, except for the order of the units
# with PostgreSQL, which debian/test_postgresql.py tests.
PROJECTS = {
    "gunicorn": {"wsgi_server": "gunicorn"},
    "waitress": {"wsgi_server": "waitress"},
    "uwsgi": {"wsgi_server": "uwsgi"},
    "supervisord": {"wsgi_server": "gunicorn", "supervisor": "supervisord"},
}
# The checks of a project itself, cheapest first.
SUITE = ["pytest", "-x", "-p", "no:cacheprovider"]
PROJECT_CHECKS = [
    ("*.sh", ["shellcheck", "{file}"]),
    ("*.py", ["ruff", "check", "--no-cache"]),
    ("*", [*SUITE, "tests/contract"]),
]
# Next, the template's tests of started servers, with the mutant in the place of the template's file.
SERVER_TESTS = {
    "gunicorn.conf.py": ["server", "sd_notify", "gunicorn"],
    "uwsgi.ini": ["server", "sd_notify", "uwsgi"],
}
# Then, the template's tests of an Nginx stack, all mutants of a file in one run.
NGINX_TESTS = {
    "*/deploy/nginx/*-cache.conf": ["cache"],
    "*/deploy/nginx/*": ["hosts", "site", "limits", "attacks", "cache"],
    "*.conf.py": ["attacks", "site", "limits"],
    "*/uwsgi.ini": ["attacks", "site", "limits"],
}
# Last, the tests of booted machines, one mutant at a time. The modules of an entry share a machine; "but"
# excludes tests by name.
INSTALLING = "install refusals release rollback but restart"
RUNNING = "install failures watchdog"
MACHINE_TESTS = {
    "*/deploy/nginx/*": [],
    "supervisord/*": ["supervisord"],
    "*/deploy/uwsgi/*": ["systemd_units", "uwsgi_emperor"],
    "*/deploy/systemd/nginx.conf": ["systemd_units sandbox"],
    "*/deploy/systemd/outbound.conf": [INSTALLING],
    "*/deploy/systemd/*": ["systemd_units sandbox", RUNNING, INSTALLING],
    "uwsgi/deploy/install.sh": ["uwsgi_emperor", INSTALLING],
    "*/deploy/install.sh": [INSTALLING],
    "*": [RUNNING, INSTALLING],
}
# Tests of other projects, and repetitions on another machine.
EXCLUDED_TESTS = {
    "gunicorn": "waitress or uwsgi or supervisord or sqlite or bookworm",
    "waitress": "gunicorn or uwsgi or supervisord or sqlite or bookworm",
    "uwsgi": "gunicorn or waitress or supervisord or sqlite or bookworm",
    "supervisord": "waitress or uwsgi or systemd",
}
SECONDS = 1200  # a mutant that takes longer is killed

SHIPPED = ("deploy/**/*", "*.conf.py", "*.ini")
COMMENT = re.compile(r"\s*([#;]|$)")
NUMBER = re.compile(r"(?<![\w.$&\\-])\d+(?=(?:[smhdkM]|r/s)?(?![\w.>]))")
SWITCH = re.compile(r"(?<==)(?:yes|no)\b|(?<![\w$./-])(?:on|off|[Tt]rue|[Ff]alse)(?![\w./=-])")
OPPOSITE = {"on": "off", "yes": "no", "true": "false", "True": "False"}
OPPOSITE |= {off: on for on, off in OPPOSITE.items()}
ABSOLUTE = re.compile(r"(?<![\w.$*})\]/-])/[\w./${}%@-]+")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """Replacement of one line of one file in one project; an empty replacement deletes the line."""

    project: str
    file: str
    number: int
    line: str
    replacement: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}: {self.line.strip()} → {self.replacement.strip() or 'deleted'}"

    @property
    def location(self) -> str:
        """Return project, file and line, for MUTANTS' patterns."""
        return f"{self.project}/{self.file}:{self.number}"

    def environ(self) -> dict[str, str]:
        """Return the environment of a run with this mutant."""
        return {"MUTANT": json.dumps(dataclasses.asdict(self))}

    @classmethod
    def from_environ(cls) -> Self | None:
        """Return the mutant of this run, if any."""
        given = os.environ.get("MUTANT")
        return cls(**json.loads(given)) if given else None

    def apply(self, project: Path) -> None:
        """Replace the line, if the project has it."""
        path = project / self.file
        lines = path.read_text().splitlines() if path.exists() else []
        if lines[self.number - 1 : self.number] == [self.line]:
            lines[self.number - 1 : self.number] = [self.replacement] if self.replacement else []
            path.write_text("\n".join([*lines, ""]))


def replacements(line: str) -> Iterator[str]:
    """Yield replacements: no line, numbers times and divided by ten, negated switches, other paths."""
    yield ""
    code = re.split(r"\s\s#", line)[0]
    for found in NUMBER.finditer(code):
        value = int(found[0])
        yield from (_with(line, found, str(new)) for new in {value * 10, value // 10} - {value})
    for found in SWITCH.finditer(code):
        yield _with(line, found, OPPOSITE[found[0]])
    for found in ABSOLUTE.finditer(code):
        yield _with(line, found, f"{found[0]}x")


def _with(line: str, found: re.Match[str], new: str) -> str:
    return line[: found.start()] + new + line[found.end() :]


def mutants_of(name: str, project: Path, excluded: set[tuple[str, str]]) -> Iterator[Mutant]:
    """Yield every mutant of the project's deploy files, without comments and the excluded lines."""
    for path in sorted({path for pattern in SHIPPED for path in project.glob(pattern)}):
        file = path.relative_to(project).as_posix()
        if path.is_dir() or path.suffix in (".md", ".yml"):  # documents and alerts
            continue
        text = path.read_text()
        ignored = set(_docstrings(text)) if path.suffix == ".py" else set()
        for number, line in enumerate(text.splitlines(), 1):
            if not COMMENT.match(line) and number not in ignored and (file, line) not in excluded:
                for replacement in replacements(line):
                    yield Mutant(name, file, number, line, replacement)


def _docstrings(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


def lines(project: Path) -> set[tuple[str, str]]:
    """Return the mutated lines of a project, which another project need not repeat."""
    return {(mutant.file, mutant.line) for mutant in mutants_of("", project, set())}


def required_tests(table: dict[str, list[str]], mutant: Mutant) -> list[str]:
    """Return the table's entry for the mutant's project and file."""
    file = f"{mutant.project}/{mutant.file}"
    return next((found for pattern, found in table.items() if fnmatch(file, pattern)), [])


def _modules(folder: str, names: Iterable[str]) -> list[str]:
    return [str(TESTS / folder / f"test_{name}.py") for name in names]


def killed_by_project(project: Path, mutant: Mutant) -> str:
    """Apply the mutant to a copy of the project; return the check that kills it, or ""."""
    mutant.apply(project)
    for pattern, command in PROJECT_CHECKS:
        if fnmatch(mutant.file, pattern):
            words = [word.format(file=mutant.file) for word in command]
            if failure := _failure(words, project, SECONDS):
                return failure
    return ""


def killed_by_server(mutant: Mutant, directory: Path) -> str:
    """Apply the mutant to a copy of the template; return the test of a server that kills it, or ""."""
    if mutant.file not in SERVER_TESTS:
        return ""
    mutant.apply(copy_working_tree(directory) / PROJECT.name)
    tests = [f"tests/package/test_{name}.py" for name in SERVER_TESTS[mutant.file]]
    options = ["-rfE", "-k", f"not ({EXCLUDED_TESTS[mutant.project]})"]
    failure = _failure([*SUITE, *options, *tests], directory, SECONDS)
    shutil.rmtree(directory)
    return failure


def killed_by_nginx(mutants: list[Mutant], directory: Path) -> dict[Mutant, str]:
    """Return the test of an Nginx stack that kills each mutant; all are of one file and project."""
    given = directory / "mutants"
    given.write_text("".join(json.dumps(dataclasses.asdict(mutant)) + "\n" for mutant in mutants))
    # The shared cases take long and kill few.
    kept = f"not ({EXCLUDED_TESTS[mutants[0].project]} or shared_cases or newer)"
    options = ["-k", kept, "-p", "no:cacheprovider"]
    tests = [
        f"--basetemp={directory}/tests",
        *_modules("nginx", required_tests(NGINX_TESTS, mutants[0])),
    ]
    killed = directory / "mutants.killed"
    killed.touch()
    _failure(["pytest", *options, *tests], TESTS.parent, MUTANTS_FILE=str(given))
    found = [json.loads(line) for line in killed.read_text().splitlines()]
    return {mutants[index]: name for index, name in found}


def killed_by_machine(mutant: Mutant, directory: Path) -> str:
    """Return the test of a booted machine that kills the mutant, or ""."""
    options = ["-x", "-rfE", "-p", "no:cacheprovider", f"--basetemp={directory}"]
    for entry in required_tests(MACHINE_TESTS, mutant):
        names, *but = entry.split(" but ")
        without = ["-k", f"not ({' or '.join([EXCLUDED_TESTS[mutant.project], *but])})"]
        command = ["pytest", *options, *without, *_modules("debian", names.split())]
        if failure := _failure(command, TESTS.parent, SECONDS, **mutant.environ()):
            return failure
    return ""


def _failure(command: list[str], cwd: Path, limit: int | None = None, **environ: str) -> str:
    """Return the test or program that fails, or "". After the limit, kill all that it started."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"{command[0]}: more than {limit} s"
    if process.returncode == 0:
        return ""
    assert process.returncode == 1, output
    failed = re.findall(r"^(?:FAILED|ERROR) tests/(\S+)", output, re.MULTILINE)
    return str(failed[0]) if failed else command[0]


SURVIVORS = tomllib.loads(Path(__file__).with_name("survivors.toml").read_text())


def known_survivor(mutant: Mutant) -> str:
    """Return the mutant's heading in survivors.toml, or ""."""
    for heading, entries in SURVIVORS.items():
        for entry in entries:
            same = (entry["file"], entry["line"]) == (mutant.file, mutant.line.strip())
            if same and mutant.replacement.strip() in entry["replacements"]:
                return str(heading)
    return ""

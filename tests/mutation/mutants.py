"""Faults of deploy files: what is made wrong of a line, and which tests have to notice it.

FAULT in the environment holds one, as `Fault.environ` writes it; every project that is generated
meanwhile has it.
"""

import ast
import dataclasses
import json
import os
import re
import signal
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

TESTS = Path(__file__).parent
# The answers of the projects whose files are made wrong; the others have nothing of their own.
KINDS = {
    "gunicorn": {"wsgi_server": "gunicorn"},
    "waitress": {"wsgi_server": "waitress"},
    "uwsgi": {"wsgi_server": "uwsgi"},
    "supervisord": {"wsgi_server": "gunicorn", "supervisor": "supervisord"},
}
# What is asked of a faulty project itself, cheapest first.
SUITE = ["pytest", "-x", "-p", "no:cacheprovider"]
LIVE = [*SUITE, "-m", "live"]
OWN = [
    ("*.sh", ["shellcheck", "{file}"]),
    ("*.py", ["ruff", "check", "--no-cache"]),
    ("*", [*SUITE, "tests/test_deploy.py", "tests/test_nginx.py"]),
    ("gunicorn.conf.py", LIVE),
    ("uwsgi.ini", LIVE),
]
# The template's tests that are asked next of a kind's file: first on a chain, all faults in one run.
CHAIN = {
    "*/deploy/nginx/*-cache.conf": ["edge_cache"],
    "*/deploy/nginx/*": ["edge_hosts", "chain", "edge_limits", "edge_attacks", "edge_cache"],
    "*.conf.py": ["edge_attacks", "chain", "edge_limits"],
    "*/uwsgi.ini": ["edge_attacks", "chain", "edge_limits"],
}
# And last on booted machines, one fault at a time: modules that share one, but for some of their tests.
INSTALL = "boot boot_refused boot_install boot_rollback but restart"
EVENTS = "boot boot_faults boot_watch"
ALONE = {
    "*/deploy/nginx/*": [],
    "supervisord/*": ["boot_supervisord"],
    "*/deploy/uwsgi/*": ["units", "boot_emperor"],
    "*/deploy/systemd/nginx.conf": ["units boot_sandbox"],
    "*/deploy/systemd/outbound.conf": [INSTALL],
    "*/deploy/systemd/*": ["units boot_sandbox", EVENTS, INSTALL],
    "uwsgi/deploy/install.sh": ["boot_emperor", INSTALL],
    "*/deploy/install.sh": [INSTALL],
    "*": [EVENTS, INSTALL],
}
# Cases that are not a kind's, or more of the same.
BUT = {
    "gunicorn": "waitress or uwsgi or supervisord or sqlite or bookworm",
    "waitress": "gunicorn or uwsgi or supervisord or sqlite or bookworm",
    "uwsgi": "gunicorn or waitress or supervisord or sqlite or bookworm",
    "supervisord": "waitress or uwsgi or systemd",
}
SECONDS = 1200  # whatever takes longer was noticed

SHIPPED = ("deploy/**/*", "*.conf.py", "*.ini")
COMMENT = re.compile(r"\s*([#;]|$)")
NUMBER = re.compile(r"(?<![\w.$&\\-])\d+(?=(?:[smhdkM]|r/s)?(?![\w.>]))")
SWITCH = re.compile(r"(?<==)(?:yes|no)\b|(?<![\w$./-])(?:on|off|[Tt]rue|[Ff]alse)(?![\w./=-])")
OPPOSITE = {"on": "off", "yes": "no", "true": "false", "True": "False"}
OPPOSITE |= {off: on for on, off in OPPOSITE.items()}
ABSOLUTE = re.compile(r"(?<![\w.$*})\]/-])/[\w./${}%@-]+")


@dataclasses.dataclass(frozen=True)
class Fault:
    """One line of one file, and what stands in its place: an empty `becomes` is no line at all."""

    kind: str
    file: str
    number: int
    line: str
    becomes: str

    def __str__(self) -> str:
        return (
            f"{self.file}:{self.number}: {self.line.strip()} → {self.becomes.strip() or 'deleted'}"
        )

    @property
    def place(self) -> str:
        return f"{self.kind}/{self.file}:{self.number}"

    def environ(self) -> dict[str, str]:
        return {"FAULT": json.dumps(dataclasses.asdict(self))}

    @classmethod
    def from_environ(cls) -> Self | None:
        given = os.environ.get("FAULT")
        return cls(**json.loads(given)) if given else None

    def put_into(self, project: Path) -> None:
        """Make the line wrong, if the project has it."""
        path = project / self.file
        lines = path.read_text().splitlines() if path.exists() else []
        if lines[self.number - 1 : self.number] == [self.line]:
            lines[self.number - 1 : self.number] = [self.becomes] if self.becomes else []
            path.write_text("\n".join([*lines, ""]))


def variants(line: str) -> Iterator[str]:
    """Yield what the operators make of a line: none, ten times as much, a tenth, on for off, another path."""
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


def faults(kind: str, project: Path, but: set[tuple[str, str]]) -> Iterator[Fault]:
    """Yield every fault of the project's deploy files, but of the lines named and of comments."""
    for path in sorted({path for pattern in SHIPPED for path in project.glob(pattern)}):
        file = path.relative_to(project).as_posix()
        if path.is_dir() or path.suffix in (".md", ".yml"):  # documents, and what only warns
            continue
        text = path.read_text()
        told = set(_docstrings(text)) if path.suffix == ".py" else set()
        for number, line in enumerate(text.splitlines(), 1):
            if not COMMENT.match(line) and number not in told and (file, line) not in but:
                for becomes in variants(line):
                    yield Fault(kind, file, number, line, becomes)


def _docstrings(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


def lines(project: Path) -> set[tuple[str, str]]:
    """Return what `faults` may leave out of another project: it is tried in this one."""
    return {(fault.file, fault.line) for fault in faults("", project, set())}


def asked(table: dict[str, list[str]], fault: Fault) -> list[str]:
    """Return what the table has for the file of the kind."""
    file = f"{fault.kind}/{fault.file}"
    return next((found for pattern, found in table.items() if fnmatch(file, pattern)), [])


def _modules(names: Iterable[str]) -> list[str]:
    return [str(TESTS / f"test_{name}.py") for name in names]


def noticed_in(project: Path, fault: Fault) -> str:
    """Return which check of this copy of the project fails of the fault; "" if none does."""
    fault.put_into(project)
    for pattern, command in OWN:
        if fnmatch(fault.file, pattern):
            told = [word.format(file=fault.file) for word in command]
            if failure := _failure(told, project, SECONDS):
                return failure
    return ""


def noticed_on_chains(faults: list[Fault], directory: Path) -> dict[Fault, str]:
    """Return which test of a chain fails of each of the faults, which are of one file and kind."""
    given = directory / "faults"
    given.write_text("".join(json.dumps(dataclasses.asdict(fault)) + "\n" for fault in faults))
    # The shared cases ask least and take longest.
    kept = f"not ({BUT[faults[0].kind]} or shared_cases or newer)"
    options = ["-k", kept, "-p", "no:cacheprovider"]
    tests = [f"--basetemp={directory}/tests", *_modules(asked(CHAIN, faults[0]))]
    noticed = directory / "faults.noticed"
    noticed.touch()
    _failure(["pytest", *options, *tests], TESTS.parent, FAULTS_GIVEN=str(given))
    told = [json.loads(line) for line in noticed.read_text().splitlines()]
    return {faults[index]: name for index, name in told}


def noticed_alone(fault: Fault, directory: Path) -> str:
    """Return which test on a machine fails of the fault; "" if none does."""
    options = ["-x", "-rfE", "-p", "no:cacheprovider", f"--basetemp={directory}"]
    for entry in asked(ALONE, fault):
        names, *but = entry.split(" but ")
        without = ["-k", f"not ({' or '.join([BUT[fault.kind], *but])})"]
        command = ["pytest", *options, *without, *_modules(names.split())]
        if failure := _failure(command, TESTS.parent, SECONDS, **fault.environ()):
            return failure
    return ""


def _failure(command: list[str], cwd: Path, limit: int | None = None, **environ: str) -> str:
    """Return what failed of a command, or "" if nothing did. It and all that it starts ends in time."""
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
            told, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"{command[0]}: more than {limit} s"
    if process.returncode == 0:
        return ""
    assert process.returncode == 1, told
    failed = re.findall(r"^(?:FAILED|ERROR) tests/(\S+)", told, re.MULTILINE)
    return str(failed[0]) if failed else command[0]


KNOWN = tomllib.loads((TESTS / "unnoticed.toml").read_text())


def known(fault: Fault) -> str:
    """Return under which heading of unnoticed.toml the fault stands; "" if under none."""
    for heading, entries in KNOWN.items():
        for entry in entries:
            same = (entry["file"], entry["line"]) == (fault.file, fault.line.strip())
            if same and fault.becomes.strip() in entry["becomes"]:
                return str(heading)
    return ""

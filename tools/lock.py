"""Pin the requirements with hashes: the generated project's for every combination of answers.

The source is the generated pyproject.toml. All of its dependencies are resolved together first,
so that the combinations agree on versions. Then each combination's lock is compiled, and entries
of some combinations are put between conditions. The template's own tests get one lock for
everything, so that they can run each generated project. This needs a package index.
"""

import itertools
import json
import subprocess
import tempfile
import tomllib
from pathlib import Path

TEMPLATE = Path(__file__).parents[1]
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
# The tests of this folder run in an environment of their own.
CONTRACT = "tests/api_contract"
AXES = ("wsgi_server", "database")
# A package without a wheel for the newest Python. The template's lock leaves the package out there,
# because `make demo` does not need it.
MARKERS = {"pyuwsgi": "python_version < '3.15'"}
COMPILE = [
    "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
    "--generate-hashes", "--no-annotate", "--no-header",
    "--exclude-newer", "7 days",  # as in the generated pyproject.toml
]  # fmt: skip

Combination = tuple[str, ...]


def main() -> None:
    choices = json.loads((TEMPLATE / "cookiecutter.json").read_text())
    combinations = list(itertools.product(*(choices[axis] for axis in AXES)))
    with tempfile.TemporaryDirectory() as directory:
        projects = {c: generate(c, Path(directory)) for c in combinations}
        constraints = Path(directory, "constraints.txt")
        constraints.write_text(resolve_all(list(projects.values()), Path(directory)))
        for name, arguments in (
            ("requirements.txt", ["pyproject.toml"]),
            ("requirements-dev.txt", ["--group", "dev"]),
        ):
            locks = {
                combination: run([*COMPILE, *arguments, "-c", str(constraints)], project)
                for combination, project in projects.items()
            }
            (PROJECT / name).write_text(merge(locks, choices))
        own = ["--group", "dev", str(Path(directory, "all.in"))]
        (TEMPLATE / "requirements.txt").write_text(run([*COMPILE, *own], TEMPLATE))
        contract = [f"{CONTRACT}/requirements.in", "-c", "requirements.txt"]
        lock = run([*COMPILE, *contract], TEMPLATE)
        (TEMPLATE / CONTRACT / "requirements.txt").write_text(lock)


def generate(combination: Combination, directory: Path) -> Path:
    target = directory / "-".join(combination)
    answers = [f"{axis}={value}" for axis, value in zip(AXES, combination, strict=True)]
    command = ["cookiecutter", "--no-input", "--default-config", "--output-dir", str(target)]
    run([*command, str(TEMPLATE), *answers], directory)
    return target / "my-service"


def run(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def resolve_all(projects: list[Path], directory: Path) -> str:
    """Resolve the dependencies of all projects together."""
    source = directory / "all.in"
    source.write_text(everything(projects))
    plain = [word for word in COMPILE if word != "--generate-hashes"]
    return run([*plain, str(source)], directory)


def everything(projects: list[Path]) -> str:
    """Return the requirements of all of these projects, one per line."""
    wanted: set[str] = set()
    for project in projects:
        metadata = tomllib.loads((project / "pyproject.toml").read_text())
        wanted.update(metadata["project"]["dependencies"], metadata["dependency-groups"]["dev"])
    markers = {line: MARKERS.get(line.partition(">")[0], "") for line in sorted(wanted)}
    return "\n".join(f"{line} ; {marker}" if marker else line for line, marker in markers.items())


def merge(locks: dict[Combination, str], choices: dict[str, list[str]]) -> str:
    """Merge the locks into one template: each entry is under the condition of its combinations."""
    wanted_by: dict[str, set[Combination]] = {}
    for combination, lock in locks.items():
        for entry in entries(lock):
            wanted_by.setdefault(entry, set()).add(combination)
    lines: list[str] = []
    in_order = sorted(wanted_by, key=lambda entry: (entry.partition("==")[0], entry))
    by_condition = itertools.groupby(
        in_order, key=lambda entry: condition(wanted_by[entry], choices)
    )
    for test, group in by_condition:
        block = "".join(group)
        lines.append(f"# <% if {test} %>\n{block}# <% endif %>\n" if test else block)
    return "".join(lines)


def entries(lock: str) -> list[str]:
    """Split a lock into its requirements, each with its lines of hashes."""
    found: list[str] = []
    for line in lock.splitlines(keepends=True):
        if line.startswith(" "):
            found[-1] += line
        else:
            found.append(line)
    return found


def condition(combinations: set[Combination], choices: dict[str, list[str]]) -> str:
    """Return the Jinja test that is true for these combinations; empty for all of them."""
    values = [sorted({c[i] for c in combinations}) for i in range(len(AXES))]
    if set(itertools.product(*values)) != combinations:
        raise SystemExit(f"ERROR: no simple condition means {sorted(combinations)}")
    tests = []
    for axis, wanted in zip(AXES, values, strict=True):
        if len(wanted) == 1 < len(choices[axis]):
            tests.append(f"cookiecutter.{axis} == {wanted[0]!r}")
        elif len(wanted) < len(choices[axis]):
            tests.append(f"cookiecutter.{axis} in {wanted!r}")
    return " and ".join(tests)


if __name__ == "__main__":
    main()

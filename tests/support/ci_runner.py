"""CI runner that reads the jobs of a generated project's GitHub or GitLab files and runs them."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from .git import git, redirected
from .process import plain_path, run

# Replacements of the hosting service: its URLs lead to a local repository, and a fake `gh` logs its
# arguments.
SERVER = {
    "CI_DEFAULT_BRANCH": "main",
    "CI_PROJECT_PATH": "group/my-service",
    "CI_SERVER_HOST": "gitlab.example.com",
    "MAINTENANCE_TOKEN": "secret",
}
PUSHED_TO = "https://maintenance:secret@gitlab.example.com/group/my-service.git"
GH = """\
#!/bin/sh
case "$*" in "pr view"*) grep -q "^pr create .* $3$" "$GH_LOG" && echo OPEN ;; esac
echo "$*" >> "$GH_LOG"
"""
RECEIVED = """\
#!/bin/sh
env | sed -n 's/^GIT_PUSH_OPTION_[0-9]*=//p' | sort >> options
"""


@dataclass
class Job:
    """Job in one cell of its matrix: the scripts, and the environment of each."""

    matrix: dict[str, list[str]]
    scripts: list[tuple[str, dict[str, str]]] = field(default_factory=list)


def github_job(path: Path, name: str, cell: dict[str, str]) -> Job:
    """Read a job of a workflow. Runner implements the known actions; others are an error."""
    known = {f"matrix.{key}": value for key, value in cell.items()}
    known["secrets.MAINTENANCE_TOKEN || github.token"] = "secret"

    def text(value: str) -> str:
        return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: known[found[1]], value)

    job = yaml.safe_load(path.read_text())["jobs"][name]
    made = Job(job.get("strategy", {}).get("matrix", {}))
    for step in job["steps"]:
        if "uses" in step:
            assert step["uses"].startswith(("actions/checkout@", "actions/setup-python@"))
            continue
        environ = {**job.get("env", {}), **step.get("env", {})}
        script = f"set -e\n{text(step['run'])}"
        made.scripts.append((script, {key: text(value) for key, value in environ.items()}))
    return made


def gitlab_job(path: Path, name: str, cell: dict[str, str]) -> Job:
    """Read a job of .gitlab-ci.yml."""
    job = yaml.safe_load(path.read_text())[name]
    (matrix,) = job.get("parallel", {}).get("matrix", [{}])
    variables = {key: str(value) for key, value in job.get("variables", {}).items()}
    script = "\n".join(["set -eo pipefail", *job["script"]])
    return Job(matrix, [(script, {**variables, **cell, **SERVER})])


READERS: dict[str, Callable[[Path, str, dict[str, str]], Job]] = {
    ".github/workflows/ci.yml": github_job,
    ".github/workflows/maintenance.yml": github_job,
    ".gitlab-ci.yml": gitlab_job,
}


class Runner:
    """Machine of the hosting service: a clone of a bare repository, one Python, no uv."""

    def __init__(self, project: Path, directory: Path, python: str) -> None:
        self.origin = directory / "origin.git"
        git("clone", "--quiet", "--bare", project, self.origin, cwd=project)
        git("config", "receive.advertisePushOptions", "true", cwd=self.origin)
        self.clone = directory / "clone"
        git("clone", "--quiet", self.origin, self.clone, cwd=directory)
        git("checkout", "--quiet", "--detach", cwd=self.clone)
        programs = directory / "python"
        run(python, "-m", "venv", programs, cwd=directory)
        self.gh_log = directory / "gh.log"
        self.gh_log.touch()
        for path, text in (
            (programs / "bin/gh", GH),
            (self.origin / "hooks/post-receive", RECEIVED),
        ):
            path.write_text(text)
            path.chmod(0o755)
        self.environ = {
            "GH_LOG": str(self.gh_log),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **redirected({PUSHED_TO: self.origin}),
            "PATH": f"{programs}/bin{os.pathsep}{plain_path()}",
        }

    def run(self, path: str, name: str, **cell: str) -> str:
        """Run a job in one cell of its matrix, and return its output."""
        job = READERS[path](self.clone / path, name, cell)
        assert cell.keys() == job.matrix.keys()
        assert all(value in job.matrix[axis] for axis, value in cell.items())
        return "".join(
            run("bash", "-c", script, cwd=self.clone, **self.environ, **environ)
            for script, environ in job.scripts
        )

    def branches(self) -> list[str]:
        """Return the branches of the bare repository."""
        return git("branch", "--format=%(refname:short)", cwd=self.origin).split()

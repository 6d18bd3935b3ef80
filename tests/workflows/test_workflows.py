"""Continuous integration of the generated project: each step runs in a clean clone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.ci_runner import PUSHED_TO, Runner
from ..support.fixtures import Generate, Needs
from ..support.generate import CHOICES, TEMPLATE
from ..support.git import IDENTITY, commit, git, redirected
from ..support.osv_database import KNOWN, Database, vulnerability_database
from ..support.process import find_python, run
from ..support.shared_venv import use_shared_venv


@pytest.mark.parametrize(
    ("path", "axis", "version", "server"),
    [
        (".github/workflows/ci.yml", "python", "3.11", "gunicorn"),
        (".gitlab-ci.yml", "VERSION", "3.13", "waitress"),
    ],
)
def test_ci_job_passes(
    copied: Generate, needs: Needs, tmp_path: Path,
    path: str, axis: str, version: str, server: str,
) -> None:  # fmt: skip
    python = find_python(version)
    needs(also=python is not None, reason=f"no Python {version} with venv")
    assert python
    project = copied(ci="gitlab" if "gitlab" in path else "github", wsgi_server=server)
    commit(project, "Generated")
    runner = Runner(project, tmp_path, python)
    printed = runner.run(path, "ci", **{axis: version})
    assert printed.count("shared cases passed") == 2
    assert git("status", "--porcelain", cwd=runner.clone) == "", "make ci leaves something"
    assert (tmp_path / f"clone/.venv/lib/python{version}").is_dir()


MAINTENANCE = [
    (".github/workflows/maintenance.yml", "propose", "change"),
    (".gitlab-ci.yml", "maintenance", "CHANGE"),
]


@pytest.mark.parametrize(("path", "name", "axis"), MAINTENANCE)
def test_maintenance_job_proposes_updates(
    template: Path, copied: Generate, tmp_path: Path, path: str, name: str, axis: str
) -> None:
    """The job proposes a release of the template and of a dependency, each on a branch."""
    ci = "gitlab" if "gitlab" in path else "github"
    project = copied(ci=ci)
    older = ("--upgrade-package", "msgspec==0.20.0", "-o", "requirements.txt")
    command = re.search(r"^COMPILE = (.*)$", (project / "Makefile").read_text(), re.MULTILINE)
    assert command
    run(*command[1].split(), "pyproject.toml", *older, cwd=project)
    commit(project, "Generated, long ago")
    runner = Runner(project, tmp_path, sys.executable)
    assert "not linked to a template" in runner.run(path, name, **{axis: "update-template"})
    assert runner.branches() == ["main"]

    fork = tmp_path / "template"
    git("clone", "--quiet", template, fork, cwd=tmp_path)
    answers = f'{{"ci": "{ci}"}}'
    address = "https://templates.example.com/fork.git"
    runner.environ |= redirected({PUSHED_TO: runner.origin, address: fork})
    link = ("cruft", "link", "--no-input", address, "--extra-context", answers)
    run(*link, cwd=project, **redirected({address: fork}))
    commit(project, "Link")
    git("push", "--quiet", runner.origin, "main", cwd=project)
    for file, pattern, text in (
        ("README.md", r"\Z", "\nNew.\n"),
        ("requirements.txt", r"(?<=^msgspec==)\S+", "0.20.1"),
    ):
        source = fork / "{{cookiecutter.project_slug}}" / file
        source.write_text(re.sub(pattern, text, source.read_text(), flags=re.MULTILINE))
    commit(fork, "The next release")
    for change in ("update-template", "upgrade-deps", "upgrade-deps"):
        git("fetch", "--quiet", "origin", cwd=runner.clone)
        git("checkout", "--quiet", "--force", "--detach", "origin/main", cwd=runner.clone)
        runner.run(path, name, **{axis: change})
    assert runner.branches() == ["main", "maintenance/update-template", "maintenance/upgrade-deps"]
    assert git("show", "maintenance/update-template:README.md", cwd=runner.origin).endswith(
        "\nNew.\n"
    )
    upgraded = git("show", "maintenance/upgrade-deps:requirements.txt", cwd=runner.origin)
    assert "msgspec==" in upgraded
    assert "msgspec==0.20.0" not in upgraded
    for change, files in (
        ("update-template", {".cruft.json", "README.md"}),
        ("upgrade-deps", {"requirements.txt", "requirements-dev.txt"}),
    ):
        changed = git("diff", "--name-only", "main", f"maintenance/{change}", cwd=runner.origin)
        assert set(changed.split()) <= files
    if ci == "github":
        created = [line for line in runner.gh_log.read_text().splitlines() if "create" in line]
        assert created == [
            f"pr create --fill --head maintenance/{change}"
            for change in ("update-template", "upgrade-deps")
        ]
    else:
        options = (runner.origin / "options").read_text().splitlines()
        assert options == ["merge_request.create", "merge_request.target=main"] * 3


@pytest.mark.parametrize(
    ("path", "vulnerable"),
    [
        (".github/workflows/maintenance.yml", ""),
        (".github/workflows/maintenance.yml", "webtest"),
        (".gitlab-ci.yml", "msgspec"),
    ],
)
def test_audit_job_fails_for_a_known_vulnerability(
    copied: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, vulnerable: str
) -> None:
    project = copied(ci="gitlab" if "gitlab" in path else "github")
    commit(project, "Generated")
    runner = Runner(project, tmp_path, sys.executable)
    monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
    with vulnerability_database(vulnerable) as url:
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", url)
        if vulnerable:
            with pytest.raises(AssertionError, match=KNOWN["id"]):
                runner.run(path, "audit")
        else:
            assert "No known vulnerabilities found" in runner.run(path, "audit")
    assert {"bottle", "msgspec", "webtest"} <= Database.requested or vulnerable


def test_pre_commit_rejects_lint_errors(copied: Generate) -> None:
    """A new project passes the hook; a commit that fails `make lint` is rejected."""
    project = copied()
    use_shared_venv(project)
    commit(project, "Generated")
    run("pre-commit", "install", cwd=project)
    assert re.search(r"make lint\.+Passed", run("pre-commit", "run", "--all-files", cwd=project))
    (project / "src/my_service/unused.py").write_text("import os\n")
    git("add", "--all", cwd=project)
    done = subprocess.run(
        ["git", "commit", "--message", "Unused"],
        cwd=project,
        env={**os.environ, **IDENTITY},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "F401" in done.stderr


SCHEMAS = {
    ".github/dependabot.yml": "dependabot",
    ".github/workflows/*.yml": "github-workflows",
    ".gitlab-ci.yml": "gitlab-ci",
}


@pytest.mark.parametrize("ci", ["github", "gitlab", "of the template"])
def test_ci_files_match_their_schemas(generated: Generate, ci: str) -> None:
    """The published schemas; zizmor checks for unpinned actions and unnecessary permissions."""
    project = generated(ci=ci) if ci in CHOICES["ci"] else TEMPLATE
    for pattern, schema in SCHEMAS.items():
        files = [str(path) for path in project.glob(pattern)]
        assert bool(files) == (("gitlab" in pattern) == (ci == "gitlab"))
        if files:
            run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files, cwd=project)
    if ci != "gitlab":
        run("zizmor", "--offline", "--quiet", project / ".github", cwd=project)


def test_actions_are_the_same_everywhere(generated: Generate) -> None:
    def used(project: Path) -> set[str]:
        texts = [path.read_text() for path in project.glob(".github/workflows/*.yml")]
        return set(re.findall(r"uses: (.*)", "".join(texts)))

    assert used(TEMPLATE) == used(generated(ci="github"))

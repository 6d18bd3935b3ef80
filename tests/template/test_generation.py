"""Generation: reproducible, without a network, and without other files than the project."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ..support.files import file_tree
from ..support.fixtures import Generate
from ..support.generate import (
    CONTEXT,
    PROJECT,
    PUBLIC,
    TEMPLATE,
    Answers,
    generate,
    name_of,
    run_cookiecutter,
)
from ..support.git import commit, git, tracked_files
from ..support.matrix import GROUPS
from ..support.process import run


@pytest.mark.parametrize("answers", GROUPS, ids=name_of)
def test_generation_is_reproducible(generated: Generate, tmp_path: Path, answers: Answers) -> None:
    assert file_tree(generate(tmp_path, answers)) == file_tree(generated(**answers))


def test_project_is_linked_to_its_template(template: Path, tmp_path: Path) -> None:
    """cruft finds the template and its commit; a password in the address is not written."""
    clone = tmp_path / "clone"
    git("clone", "--quiet", template, clone, cwd=tmp_path)
    for address, written in (
        ("https://me:secret@git.example.com/template.git", "https://git.example.com/template.git"),
        ("git@git.example.com:template.git", "git@git.example.com:template.git"),
    ):
        git("config", "remote.origin.url", address, cwd=clone)
        project = generate(tmp_path / written.replace("/", "-"), {"ci": "gitlab"}, str(clone))
        state = json.loads((project / ".cruft.json").read_text())
        assert state["template"] == written
        assert state["commit"] == git("rev-parse", "HEAD", cwd=clone).strip()
        assert state["context"]["cookiecutter"].keys() == set(PUBLIC)
        assert state["context"]["cookiecutter"]["ci"] == "gitlab"


@pytest.mark.parametrize(
    "reason", ["no address", "changed", "not pushed", "inside another", "no repository"]
)
def test_project_is_not_linked_to_a_template_that_cannot_be_found(
    template: Path, tmp_path: Path, reason: str
) -> None:
    clone = tmp_path / "outer" / "clone"
    git("clone", "--quiet", template, clone, cwd=tmp_path)
    address = "/srv/template.git" if reason == "no address" else "https://git.example.com/t.git"
    git("config", "remote.origin.url", address, cwd=clone)
    if reason == "changed":
        (clone / "hooks/extra.py").touch()
    if reason == "not pushed":
        (clone / "hooks/extra.py").touch()
        commit(clone, "Extra")
    if reason == "inside another":
        (clone / ".git").rename(clone.parent / ".git")
        commit(clone.parent, "Moved")
    if reason == "no repository":
        (clone / ".git").rename(tmp_path / "away")
    assert not (generate(tmp_path / "generated", {}, str(clone)) / ".cruft.json").exists()


def test_generation_needs_no_network(tmp_path: Path) -> None:
    """An audit hook in each Python process rejects connections and lookups of names."""
    environ = {"PYTHONPATH": str(Path(__file__).parent / "no_network")}
    control = "import socket; socket.create_connection(('127.0.0.1', 9))"
    with pytest.raises(AssertionError, match="no network in this test"):
        run(sys.executable, "-c", control, cwd=tmp_path, **environ)
    command = [sys.executable, "-m", "cookiecutter", "--no-input", str(TEMPLATE)]
    run(*command, cwd=tmp_path, **environ)
    assert file_tree(tmp_path / "my-service") == file_tree(generate(tmp_path / "again", {}))


def test_user_defaults_are_used(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("default_context: {author_name: Grace, license: Apache-2.0}\n")
    done = run_cookiecutter(tmp_path, "--config-file", str(config))
    assert done.returncode == 0, done.stderr
    assert "Apache License" in (tmp_path / "my-service" / "LICENSE").read_text()


def test_generation_writes_only_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cookiecutter itself leaves the answers and the hooks that it rendered."""
    monkeypatch.delenv("COOKIECUTTER_CONFIG")
    template = (
        file_tree(TEMPLATE / "hooks") | file_tree(TEMPLATE / "templates") | file_tree(PROJECT)
    )
    directories = {name: tmp_path / name for name in ("HOME", "TMPDIR", "PWD", "OUT")}
    for directory in directories.values():
        directory.mkdir()
    run(
        sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", directories["OUT"], TEMPLATE,
        cwd=directories["PWD"],
        **{name: str(directory) for name, directory in directories.items()},
    )  # fmt: skip
    assert [path.name for path in directories["OUT"].iterdir()] == ["my-service"]
    (replay,) = file_tree(directories["HOME"])
    assert replay.startswith(".cookiecutter_replay/")
    assert [Path(name).suffix for name in file_tree(directories["TMPDIR"])] == [".py"] * 2
    assert file_tree(directories["PWD"]) == {}
    assert template == file_tree(TEMPLATE / "hooks") | file_tree(
        TEMPLATE / "templates"
    ) | file_tree(PROJECT)


def test_template_directory_has_only_files_of_git() -> None:
    """Cookiecutter copies every file of the tree, and replaces links by copies or drops them.

    Files that Git ignores, such as __pycache__ and the caches of ruff and mypy, make this test fail.
    """
    known = {TEMPLATE / name for name in tracked_files(PROJECT.name)}
    there = {path for path in PROJECT.rglob("*") if not path.is_dir()}
    assert there == known
    assert not [path for path in there if path.is_symlink()]


def test_unrendered_sources_are_valid_python() -> None:
    """Jinja's blocks are comments, and an answer is a name or in a string."""
    for path in (PROJECT / "src").rglob("*.py"):
        text = re.sub(r"\{\{ cookiecutter\.(\w+) \}\}", r"\1", path.read_text())
        ast.parse(text, path)


def test_versions_of_the_template_agree(generated: Generate) -> None:
    """The version is in pyproject.toml, in cookiecutter.json and in the package of each project."""
    version = tomllib.loads((TEMPLATE / "pyproject.toml").read_text())["project"]["version"]
    assert CONTEXT["__version"] == version
    package = (PROJECT / "src/bottle_service/__init__.py").read_text()
    assert re.findall(r'^__version__ = "(.*)"$', package, re.MULTILINE) == [version]
    assert (
        f"cookiecutter-bottle-service {version} generated"
        in (generated() / "README.md").read_text()
    )


def test_git_commits_the_project_unchanged(tmp_path: Path) -> None:
    """Git commits every file, with LF on every system and executable scripts."""
    project = generate(tmp_path, {})
    run("git", "init", "--quiet", "-b", "main", cwd=project)
    run("git", "add", ".", cwd=project)
    assert "!!" not in run("git", "status", "--porcelain", "--ignored", cwd=project)
    author = ("-c", "user.name=me", "-c", "user.email=me@example.com")
    run("git", *author, "commit", "--quiet", "-m", "All", cwd=project)
    windows = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    run("git", *windows, "clone", "--quiet", str(project), "clone", cwd=tmp_path)
    assert file_tree(tmp_path / "clone" / "src") == file_tree(project / "src")
    for line in run("git", "ls-files", "--eol", "--stage", cwd=tmp_path / "clone").splitlines():
        mode, path, ends = line.split()[0], line.split("\t")[-1], line.split()[3:5]
        assert mode == ("100755" if path.endswith(".sh") else "100644"), path
        assert ends in (["i/lf", "w/lf"], ["i/none", "w/none"]), path


@pytest.mark.parametrize(
    ("working_directory", "shown"), [("", "here/my-service"), ("/proc", None), (None, None)]
)
def test_next_steps_name_a_path_from_the_users_directory(
    tmp_path: Path, working_directory: str | None, shown: str | None
) -> None:
    """PWD is the shell's. Without it, or from far away, the message has the absolute path."""
    environ = {name: value for name, value in os.environ.items() if name != "PWD"}
    environ |= {} if working_directory is None else {"PWD": str(tmp_path / working_directory)}
    command = ["-m", "cookiecutter", "--no-input", "-o", "here", str(TEMPLATE)]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environ, check=True, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert re.findall("cd (.*)", done.stdout) == [shown or str(tmp_path / "here/my-service")]


def test_closed_stdout_does_not_stop_generation(tmp_path: Path) -> None:
    run("sh", "-c", f"{sys.executable} -m cookiecutter --no-input {TEMPLATE} >&-", cwd=tmp_path)
    assert (tmp_path / "my-service").is_dir()

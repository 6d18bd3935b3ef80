"""Generation: the same every time, without a network, and nothing beside the project."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.files import file_tree
from ..support.fixtures import Generate
from ..support.generate import PROJECT, TEMPLATE, Answers, generate, name_of, run_cookiecutter
from ..support.locks import without_hashes
from ..support.matrix import GROUPS
from ..support.process import find_python, run


@pytest.mark.parametrize("answers", GROUPS, ids=name_of)
def test_twice_is_the_same(generated: Generate, tmp_path: Path, answers: Answers) -> None:
    assert file_tree(generate(tmp_path, answers)) == file_tree(generated(**answers))


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_each_python_makes_the_same(
    generated: Generate, tmp_path: Path, needs: Callable[..., None], version: str
) -> None:
    python = find_python(version)
    needs(also=python is not None, reason=f"there is no Python {version}")
    venv, pins = tmp_path / "venv", tmp_path / "pins.txt"
    pins.write_text(without_hashes((TEMPLATE / "requirements.txt").read_text()))
    run("uv", "venv", "--quiet", "--python", str(python), venv, cwd=tmp_path)
    install: list[str | Path] = [
        "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        venv,
        "--constraint",
        pins,
    ]
    run(*install, "cookiecutter", cwd=tmp_path)
    made: list[str | Path] = [venv / "bin" / "python", "-m", "cookiecutter", "--no-input", TEMPLATE]
    run(*made, cwd=tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert file_tree(tmp_path / "my-service") == file_tree(generated())


def test_without_a_network(tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("unshare", also=os.getuid() == 0, reason="a network namespace wants root")
    command = [
        "unshare",
        "--net",
        sys.executable,
        "-m",
        "cookiecutter",
        "--no-input",
        str(TEMPLATE),
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert file_tree(tmp_path / "my-service") == file_tree(generate(tmp_path / "again", {}))


def test_the_users_own_defaults_are_taken(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("default_context: {author_name: Grace, license: Apache-2.0}\n")
    done = run_cookiecutter(tmp_path, "--config-file", str(config))
    assert done.returncode == 0, done.stderr
    assert "Apache License" in (tmp_path / "my-service" / "LICENSE").read_text()


def test_nothing_but_the_project_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for what Cookiecutter itself leaves: the answers, and the hooks that it has rendered."""
    monkeypatch.delenv("COOKIECUTTER_CONFIG")
    template = (
        file_tree(TEMPLATE / "hooks") | file_tree(TEMPLATE / "templates") | file_tree(PROJECT)
    )
    places = {name: tmp_path / name for name in ("HOME", "TMPDIR", "PWD", "OUT")}
    for place in places.values():
        place.mkdir()
    run(
        sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", places["OUT"], TEMPLATE,
        cwd=places["PWD"],
        **{name: str(place) for name, place in places.items()},
    )  # fmt: skip
    assert [path.name for path in places["OUT"].iterdir()] == ["my-service"]
    (replay,) = file_tree(places["HOME"])
    assert replay.startswith(".cookiecutter_replay/")
    assert [Path(name).suffix for name in file_tree(places["TMPDIR"])] == [".py"] * 2
    assert file_tree(places["PWD"]) == {}
    assert template == file_tree(TEMPLATE / "hooks") | file_tree(
        TEMPLATE / "templates"
    ) | file_tree(PROJECT)


def test_the_template_is_what_git_has() -> None:
    """Cookiecutter copies whatever lies in the tree, and turns links into copies or nothing."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", PROJECT.name]
    done = subprocess.run(listed, cwd=TEMPLATE, check=True, capture_output=True, text=True)
    known = {TEMPLATE / name for name in done.stdout.split("\0") if name}
    there = {path for path in PROJECT.rglob("*") if not path.is_dir()}
    assert there == known
    assert not [path for path in there if path.is_symlink()]


def test_the_package_is_python_as_it_lies() -> None:
    """Editors and linters read the sources unrendered."""
    package = PROJECT / "src" / "{{cookiecutter.package_name}}"
    for path in package.rglob("*.py"):
        compile(path.read_text(), path, "exec")


def test_git_takes_the_project_as_it_is(tmp_path: Path) -> None:
    """All of it, with LF on every system, and scripts that can be executed."""
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
    ("stands", "shown"), [("", "here/my-service"), ("/proc", None), (None, None)]
)
def test_what_is_next_is_said_for_where_the_user_stands(
    tmp_path: Path, stands: str | None, shown: str | None
) -> None:
    """PWD is the shell's; from far away, and without it, the whole path is shorter or right."""
    environ = {name: value for name, value in os.environ.items() if name != "PWD"}
    environ |= {} if stands is None else {"PWD": str(tmp_path / stands)}
    command = ["-m", "cookiecutter", "--no-input", "-o", "here", str(TEMPLATE)]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environ, check=True, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert re.findall("cd (.*)", done.stdout) == [shown or str(tmp_path / "here/my-service")]


def test_nobody_listens_to_what_is_next(tmp_path: Path) -> None:
    run("sh", "-c", f"{sys.executable} -m cookiecutter --no-input {TEMPLATE} >&-", cwd=tmp_path)
    assert (tmp_path / "my-service").is_dir()

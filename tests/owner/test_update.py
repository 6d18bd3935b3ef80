"""Update of a project of each release, with its owner's changes, to the present template."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from ..support.files import file_tree
from ..support.fixtures import Generate
from ..support.generate import TEMPLATE, generate
from ..support.git import IDENTITY, commit, git, redirected
from ..support.markdown import blocks
from ..support.process import run
from ..support.shared_venv import use_shared_venv

RELEASES: dict[str, str] = tomllib.loads((TEMPLATE / "tests/releases.toml").read_text())
(LINK,) = blocks(TEMPLATE, "docs/upgrading.md", "Link")
UPDATE, FIRST_UPDATE = blocks(TEMPLATE, "docs/upgrading.md", "Update")
(CHANGE,) = blocks(TEMPLATE, "docs/upgrading.md", "Change an answer")
TAKE_THEIRS, MIGRATE = blocks(TEMPLATE, "docs/upgrading.md", "From 0.2 to 0.3")

# The owner's changes: a route, a setting, a limit.
ROUTE = """\
from msgspec import Struct


class Colour(Struct):
    colour: str


def show() -> Colour:
    return Colour(colour="green")
"""
TEST = """\
from webtest import TestApp


def test_colour(client: TestApp) -> None:
    assert client.get("/api/v1/colour").json == {"colour": "green"}
"""
EDITS = [
    ("src/my_service/routes/__init__.py", "from . import ", "from . import colour, "),
    (
        "src/my_service/routes/__init__.py",
        r"\Z",
        '    app.route("/api/v1/colour", "GET", colour.show, public=True)\n',
    ),
    (
        "src/my_service/settings.py",
        r"(?=    cors_origins:)|\Z",
        '\n    colour: str = "green"\n',
    ),
    (
        ".env.example",
        "(?=# The largest body of a request)",
        "# The colour of things\n#COLOUR=green\n\n",
    ),
    ("deploy/systemd/my-service.service", "MemoryMax=512M", "MemoryMax=768M"),
]
# The place in .env.example that docs/upgrading.md names; former releases do not have it.
BELOW_YOUR_SETTINGS = [
    (name, r"\Z" if name == ".env.example" else pattern, text) for name, pattern, text in EDITS
]


def test_each_release_is_in_history_and_changelog() -> None:
    """The releases are ancestors of HEAD, and CHANGELOG.md lists the same versions."""
    shallow = git("rev-parse", "--is-shallow-repository", cwd=TEMPLATE).strip()
    assert shallow == "false", "this clone lacks the releases: git fetch --unshallow"
    for version, release in RELEASES.items():
        command = ["git", "merge-base", "--is-ancestor", release, "HEAD"]
        done = subprocess.run(command, cwd=TEMPLATE, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{version}: no commit {release} before HEAD: {done.stderr}"
    changelog = (TEMPLATE / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (\d\S*) - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE) == list(RELEASES)


def run_guide(commands: str, cwd: Path) -> str:
    """Run commands of the guide, with Enter as the answer to each prompt."""
    return run(*guide(commands), cwd=cwd, **IDENTITY)


def guide(commands: str) -> list[str]:
    """Return the shell's command line for commands of the guide."""
    return ["bash", "-ec", f"exec < <(yes '')\n{commands}"]


def edited(project: Path, edits: list[tuple[str, str, str]]) -> dict[str, bytes]:
    """Return the content of the files that the owner changes."""
    texts: dict[str, str] = {}
    for name, pattern, text in edits:
        before = texts.get(name) or (project / name).read_text()
        texts[name] = re.sub(pattern, text, before, count=1)
    files = {name: text.encode() for name, text in texts.items()}
    return files | {
        "src/my_service/routes/colour.py": ROUTE.encode(),
        "tests/test_colour.py": TEST.encode(),
    }


def edit(project: Path, edits: list[tuple[str, str, str]]) -> None:
    """Make the owner's changes."""
    for name, content in edited(project, edits).items():
        (project / name).write_bytes(content)


def packages(lock: bytes) -> bytes:
    """Return the names of a lock's packages."""
    return b" ".join(re.findall(rb"^(\S+)==", lock, re.MULTILINE))


def check(project: Path, fresh: Path, edits: list[tuple[str, str, str]]) -> None:
    """Check that the project is the present one with the owner's changes, and passes its suite."""
    present = {name: content for name, (_, content) in file_tree(project).items()}
    wanted = {name: content for name, (_, content) in file_tree(fresh).items()}
    wanted |= edited(fresh, edits)
    found = {name for name in present if not name.startswith(".git/")}
    assert found == set(wanted)
    for lock in ("requirements.txt", "requirements-dev.txt"):  # the index may have newer releases
        present[lock], wanted[lock] = map(packages, (present[lock], wanted[lock]))
    assert [name for name in wanted if present[name] != wanted[name]] == []
    # The suite requires deploy/README.md to document the changed limit.
    readme = project / "deploy/README.md"
    readme.write_text(readme.read_text().replace("`512M`", "`768M`"))
    run("pytest", cwd=project)


@pytest.mark.parametrize("version", RELEASES)
def test_update_from_release_keeps_the_owners_changes(
    template: Path, generated: Generate, tmp_path: Path, version: str
) -> None:
    """Version 0.3 has new settings, so the owner adds theirs again."""
    address = f"{template} --checkout {RELEASES[version]}"
    run_guide(f"uvx cruft create {address}", tmp_path)
    project = tmp_path / "my-service"
    commit(project, "Generated")
    edit(project, EDITS)
    commit(project, "Colour")
    has_update = "\nupdate:" in (project / "Makefile").read_text()
    command = guide("make update" if has_update else FIRST_UPDATE)
    environ = {**os.environ, **IDENTITY}
    done = subprocess.run(
        command, cwd=project, env=environ, check=False, capture_output=True, text=True
    )
    settings = "src/my_service/settings.py"
    unmerged = git("diff", "--name-only", "--diff-filter=U", cwd=project)
    assert unmerged == f"{settings}\n", done.stdout + done.stderr
    assert not has_update or done.stderr.count(f"make lock ci: {settings}\n") == 1
    run_guide(TAKE_THEIRS, project)
    own = [change for change in EDITS if change[0] == settings]
    (project / settings).write_bytes(edited(project, own)[settings])
    run_guide("make lock", project)
    check(project, generated(), EDITS)


def test_notes_of_a_former_release_are_migrated(copied: Generate) -> None:
    """The present 0001_notes.py creates more than that of 0.2, which has run on the owner's hosts."""
    project = copied()
    name = "migrations/versions/0001_notes.py"
    inside = "{{cookiecutter.project_slug}}/src/{{cookiecutter.package_name}}"
    migration = project / "src/my_service" / name
    present = migration.read_text()
    migration.write_text(git("show", f"{RELEASES['0.2.0']}:{inside}/{name}", cwd=TEMPLATE))
    commit(project, "Release 0.2")
    use_shared_venv(project)
    run("make", "migrate", cwd=project)
    migration.write_text(present)
    with closing(sqlite3.connect(project / "my-service.sqlite3")) as database:
        database.execute("INSERT INTO notes VALUES (1, 'kept', '', '2026-01-01', '2026-01-01')")
        database.commit()
        run_guide(MIGRATE, project)
        run("make", "migrate", cwd=project)
        row = database.execute("SELECT title, version FROM notes").fetchone()
    assert row == ("kept", "1")
    run("pytest", "-q", "tests/test_migrations.py", cwd=project)


@pytest.fixture(scope="module")
def first(template: Path, generated: Generate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project that was generated, edited, and then linked to its template."""
    project = tmp_path_factory.mktemp("linked") / "my-service"
    shutil.copytree(generated(), project, ignore=shutil.ignore_patterns("__pycache__"))
    commit(project, "Generated")
    edit(project, BELOW_YOUR_SETTINGS)
    commit(project, "Colour")
    diff = run_guide(LINK.replace("ADDRESS", str(template)).replace("COMMIT", "HEAD"), project)
    assert set(re.findall(r"^--- \S+?/(\S+)", diff, re.MULTILINE)) == {name for name, _, _ in EDITS}
    return project


@pytest.fixture
def linked(first: Path, tmp_path: Path) -> Path:
    """Return a copy of the linked project, which the test may change."""
    return Path(shutil.copytree(first, tmp_path / first.name))


def update(
    project: Path, target: str = "update-template", **answers: str
) -> subprocess.CompletedProcess[str]:
    """Run `make update-template`, or its former name, with changed answers."""
    return subprocess.run(
        ["make", target, f"ANSWERS={json.dumps(answers)}"],
        cwd=project,
        check=False,
        capture_output=True,
        text=True,
    )


def test_generated_project_can_be_updated(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `cruft link`, if the template has an address."""
    address, clone = "https://templates.example.com/bottle.git", tmp_path / "clone"
    git("clone", "--quiet", template, clone, cwd=tmp_path)
    git("config", "remote.origin.url", address, cwd=clone)
    project = generate(tmp_path, {"database": "none"}, str(clone))
    commit(project, "Generated")
    source = clone / "{{cookiecutter.project_slug}}/README.md"
    source.write_text(f"{source.read_text()}\nNew.\n")
    commit(clone, "The next release")
    for variable, value in redirected({address: clone}).items():
        monkeypatch.setenv(variable, value)
    done = update(project)
    assert done.returncode == 0, done.stderr
    assert (project / "README.md").read_text().endswith("\nNew.\n")
    assert not (project / "src/my_service/models.py").exists()


def test_update_changes_answers(linked: Path, generated: Generate) -> None:
    run_guide(CHANGE, linked)
    run_guide(UPDATE.replace("make update-template\nmake ci\n", ""), linked)
    done = update(linked, "update", description="O'Brien's")
    assert done.returncode == 0, done.stderr
    assert "make update is now called make update-template; " in done.stderr
    answers = {"wsgi_server": "waitress", "ci": "gitlab", "description": "O'Brien's"}
    check(linked, generated(**answers), BELOW_YOUR_SETTINGS)


@pytest.mark.parametrize("suffix", ["", ".rej"])
def test_update_conflict_is_reported(linked: Path, suffix: str) -> None:
    """Git reports a merge conflict; without the generated commit in its history, a .rej file."""
    example = linked / ".env.example"
    example.write_text(example.read_text().replace("/var/lib/my-service/db", "/srv/db"))
    commit(linked, "Another place for the database")
    if suffix:
        (linked / ".git").rename(linked.parent / "before")
        commit(linked, "All at once")
    table = linked / "src/my_service/routes/__init__.py"
    locks = (linked / "requirements.txt").read_bytes()
    done = update(linked, database="none")
    assert done.returncode != 0
    names = [".env.example", "src/my_service/routes/__init__.py"]
    paths = " ".join(f"{name}{suffix}" for name in names)
    assert f"merge these by hand, then make lock ci: {paths}\n" in done.stderr
    assert ("<<<<<<<" in table.read_text()) == (not suffix)
    assert '"/api/v1/colour"' in table.read_text()
    assert (linked / "requirements.txt").read_bytes() == locks
    git("reset", "--quiet", "--hard", cwd=linked)
    git("clean", "--quiet", "--force", "-d", cwd=linked)
    assert '"/api/v1/colour"' in table.read_text()
    assert not git("status", "--porcelain", cwd=linked)


def test_project_that_cannot_be_updated_is_not_changed(linked: Path) -> None:
    (linked / "README.md").write_text("Being rewritten")
    assert "unclean git project" in update(linked).stdout
    (linked / ".cruft.json").unlink()
    assert "not linked to its template yet" in update(linked).stderr
    (linked / ".git").rename(linked.parent / "before")
    assert "not a git repository" in update(linked).stderr
    assert (linked / "README.md").read_text() == "Being rewritten"

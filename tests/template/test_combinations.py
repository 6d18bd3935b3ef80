"""Each combination of answers: its files, and the groups with the same code."""

import configparser
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from tools.lock import AXES, merge

from ..support.fixtures import Generate
from ..support.generate import CHOICES, COMBINATIONS, CONTEXT, PROJECT, Answers, name_of
from ..support.matrix import EMBEDDED, GROUPS, LARGEST, SMALLEST, group_of

# Paths that depend on answers, and these answers. This repeats __keep, so that a mistake in one of
# them is found. A project has every other path of the template.
SQLITE, POSTGRESQL, NO_DATABASE = ({"database": n} for n in ("sqlite", "postgresql", "none"))
DATABASE = [SQLITE, POSTGRESQL]
GUNICORN, WAITRESS, UWSGI = ({"wsgi_server": name} for name in ("gunicorn", "waitress", "uwsgi"))
SYSTEMD, SUPERVISORD = {"supervisor": "systemd"}, {"supervisor": "supervisord"}
OPTIONAL: dict[str, Answers | list[Answers]] = {  # a list has alternatives
    ".github": {"ci": "github"},
    ".gitlab-ci.yml": {"ci": "gitlab"},
    "deploy/supervisor": SUPERVISORD,
    "deploy/systemd": SYSTEMD,
    "deploy/systemd/my-service-backup.timer": [SYSTEMD | each for each in DATABASE],
    "deploy/uwsgi": UWSGI | SYSTEMD,
    "docs/how-to/backup.md": DATABASE,
    "docs/how-to/files.md": DATABASE,
    "docs/how-to/container.md": [GUNICORN, WAITRESS],  # uWSGI listens on unix sockets only
    "docs/how-to/litestream.md": SQLITE,
    "docs/how-to/login.md": DATABASE,
    "docs/how-to/migrations.md": DATABASE,
    "docs/how-to/safe-writes.md": DATABASE,
    "docs/how-to/events.md": SQLITE,
    "docs/how-to/pages-and-forms.md": DATABASE,
    "docs/how-to/permissions.md": DATABASE,
    "docs/how-to/point-in-time.md": POSTGRESQL,
    "docs/how-to/postgresql.md": POSTGRESQL,
    "docs/how-to/task-queue.md": DATABASE,
    "docs/how-to/webhooks.md": DATABASE,
    "gunicorn.conf.py": GUNICORN,
    "src/bottle_service/database": DATABASE,
    "src/bottle_service/database/lost_parts.py": SQLITE,
    "src/bottle_service/database/postgresql.py": POSTGRESQL,
    "src/bottle_service/database/postgresql_alembic.py": POSTGRESQL,
    "src/bottle_service/database/postgresql_url.py": POSTGRESQL,
    "src/bottle_service/database/sqlite.py": SQLITE,
    "src/bottle_service/database/sqlite_alembic.py": SQLITE,
    "src/bottle_service/database/url.py": SQLITE,
    "src/bottle_service/servers/gunicorn.py": GUNICORN,
    "src/bottle_service/servers/gunicorn_hooks.py": GUNICORN,
    "src/bottle_service/servers/uwsgi.py": UWSGI,
    "src/bottle_service/servers/waitress.py": WAITRESS,
    "src/my_service/migrations": DATABASE,
    "src/my_service/models.py": DATABASE,
    "src/my_service/routes/greetings.py": NO_DATABASE,
    "src/my_service/routes/notes.py": DATABASE,
    "tests/contract/test_deploy_emperor.py": UWSGI | SYSTEMD,
    "tests/contract/test_deploy_gunicorn.py": GUNICORN,
    "tests/contract/test_deploy_supervisor.py": SUPERVISORD,
    "tests/contract/test_deploy_systemd.py": SYSTEMD,
    "tests/contract/test_deploy_uwsgi.py": UWSGI,
    "tests/contract/postgresql.py": POSTGRESQL,
    "tests/contract/uwsgi_connection.py": UWSGI,
    "tests/test_greetings.py": NO_DATABASE,
    "tests/test_migrations.py": DATABASE,
    "tests/test_notes.py": DATABASE,
    "uwsgi.ini": UWSGI,
}

# Names of devices on Windows, with any suffix, and characters that no name may contain there:
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
DEVICES = r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?"
ILLEGAL = r'.*([<>:"\\|?*\x00-\x1f]|[. ]$).*'


def files(project: Path) -> Iterator[Path]:
    """Return the files of a project."""
    return (path for path in project.rglob("*") if path.is_file())


def rendered_name(path: Path) -> str:
    """Return the path in a project of a file of the template."""
    name = path.relative_to(PROJECT).as_posix()
    names = {"project_slug": "my-service", "package_name": "my_service"}
    return re.sub(r"\{\{cookiecutter\.(\w+)\}\}", lambda found: names[found[1]], name)


TEMPLATE_FILES = {rendered_name(path): path for path in files(PROJECT)}


def is_in(path: str, parent: str) -> bool:
    """Return whether the path is this one or below it."""
    return path == parent or path.startswith(f"{parent}/")


def expected_files(answers: Answers) -> set[str]:
    """Return the template's files, except for those that need other answers."""
    excluded = []
    for path, needed in OPTIONAL.items():
        alternatives = needed if isinstance(needed, list) else [needed]
        if not any(one.items() <= answers.items() for one in alternatives):
            excluded.append(path)
    return {name for name in TEMPLATE_FILES if not any(is_in(name, path) for path in excluded)}


def test_optional_paths_are_those_of_keep() -> None:
    """And the template has each of them."""
    paths = " ".join(CONTEXT["__keep"]).replace("{{ cookiecutter.package_name }}", "my_service")
    assert {*paths.replace("{{ cookiecutter.project_slug }}", "my-service").split()} == {*OPTIONAL}
    for path in OPTIONAL:
        assert any(is_in(name, path) for name in TEMPLATE_FILES), path


@cache
def mistake(suffix: str, text: str) -> str:
    """Return the first mistake in the text of a file, or ""; most files are the same in many projects."""
    if suffix not in (".mako", ".yml") and re.search(r"cookiecutter\.|<%|%>|\{\{ ", text):
        return "Jinja"
    if not re.fullmatch(r"(?s).*\S\n", text):
        return "the end is not one line break"
    if found := re.search(r"[ \t]+$", text, re.MULTILINE):
        return f"white space at the end of a line, at {found.start()}"
    match suffix:
        case ".toml":
            tomllib.loads(text)
        case ".yml" | ".yaml":
            assert yaml.safe_load(text)
        case ".json":
            json.loads(text)
        case ".service" | ".socket" | ".ini" | ".cfg":
            configparser.ConfigParser(strict=False, interpolation=None).read_string(text)
    return ""


@pytest.mark.parametrize("answers", COMBINATIONS, ids=name_of)
def test_files_of_combination_are_expected_and_valid(generated: Generate, answers: Answers) -> None:
    project = generated(**answers)
    found = {path.relative_to(project).as_posix() for path in files(project)}
    assert found == expected_files(answers)
    for path in files(project):
        assert bool(path.stat().st_mode & 0o111) == (path.suffix == ".sh"), path
        assert mistake(path.suffix, path.read_text(encoding="utf-8")) == "", path
    for name in found:
        for part in name.split("/"):
            assert not re.fullmatch(f"{DEVICES}|{ILLEGAL}", part, re.IGNORECASE), name
    assert len({name.lower() for name in found}) == len(found)
    assert all(any(path.iterdir()) for path in project.rglob("*") if path.is_dir())


def content(project: Path) -> str:
    """Return a hash of all files that affect the running project."""
    digest = hashlib.sha256()
    for path in sorted(files(project)):
        name = path.relative_to(project).as_posix()
        text = path.read_text()
        if name == "LICENSE" or name.startswith((".github/", ".gitlab-ci")):
            continue
        if name == "pyproject.toml":
            text = re.sub(r'^license = ".*"$', "", text, flags=re.MULTILINE)
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()


def test_license_and_ci_change_no_code(generated: Generate) -> None:
    groups: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for answers in COMBINATIONS:
        same = tuple(group_of(answers).items())
        groups.setdefault(content(generated(**answers)), set()).add(same)
    assert all(len(same) == 1 for same in groups.values())
    assert len(groups) == len(GROUPS)
    print(f"{len(COMBINATIONS)} combinations, {len(groups)} distinct")


@pytest.mark.parametrize("answers", GROUPS, ids=name_of)
def test_supervisor_changes_only_files_of_the_host(generated: Generate, answers: Answers) -> None:
    """So one supervisor is enough to test the started server and most of the suite."""
    supervised, other = (
        {path.relative_to(project).as_posix(): path.read_bytes() for path in files(project)}
        for project in (generated(**answers), generated(**(answers | {"supervisor": "systemd"})))
    )
    paths = {*supervised, *other}
    changed = {path for path in paths if supervised.get(path) != other.get(path)}
    host = ("Makefile", "README.md", "deploy/", "docs/", "tests/contract/test_deploy")
    assert not [path for path in changed if not path.startswith(host)]


@pytest.mark.parametrize("answers", GROUPS, ids=name_of)
def test_package_of_the_template_is_the_same_in_each_project(
    generated: Generate, answers: Answers
) -> None:
    """This test compares the content of its files; the test above compares their names."""
    package = generated(**answers) / "src" / "bottle_service"
    for path in files(package):
        source = PROJECT / "src" / "bottle_service" / path.relative_to(package)
        assert path.read_bytes() == source.read_bytes(), path


def test_package_of_the_template_has_no_jinja() -> None:
    for path in files(PROJECT / "src" / "bottle_service"):
        # Views of Bottle use {{…}} too.
        delimiters = (
            r"cookiecutter\.|# <%" if path.suffix == ".tpl" else r"cookiecutter\.|\{\{|# <%"
        )
        assert not re.search(delimiters, path.read_text()), path


def test_rendered_locks_are_the_template_s_merged_again(generated: Generate) -> None:
    """They differ by AXES only."""
    for name in ("requirements.txt", "requirements-dev.txt"):
        rendered: dict[tuple[str, ...], str] = {}
        for answers in GROUPS:
            lock = (generated(**answers) / name).read_text()
            assert rendered.setdefault(tuple(answers[axis] for axis in AXES), lock) == lock
        assert merge(rendered, CHOICES) == (PROJECT / name).read_text()


def test_smallest_and_largest_combination_have_fewest_and_most_files(generated: Generate) -> None:
    def count(answers: Answers) -> int:
        return len([*files(generated(**answers))])

    counts = [count(answers) for answers in EMBEDDED]
    assert (count(SMALLEST), count(LARGEST)) == (min(counts), max(counts))

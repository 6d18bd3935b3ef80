"""Each combination of answers: its files, and the groups with the same code."""

import configparser
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ..support.fixtures import Generate
from ..support.generate import COMBINATIONS, Answers, name_of
from ..support.matrix import GROUPS, SMALLEST, group_of

# Paths that depend on an answer. This repeats __keep, so that a mistake in one of them is found.
OPTIONAL = {
    ".github/dependabot.yml": ("ci", {"github"}),
    ".github/workflows/ci.yml": ("ci", {"github"}),
    ".github/workflows/maintenance.yml": ("ci", {"github"}),
    ".gitlab-ci.yml": ("ci", {"gitlab"}),
    "deploy/supervisor/my-service.conf": ("supervisor", {"supervisord"}),
    "deploy/supervisor/my-service.tmpfiles": ("supervisor", {"supervisord"}),
    "deploy/supervisor/run.sh": ("supervisor", {"supervisord"}),
    "deploy/systemd/my-service.service": ("supervisor", {"systemd"}),
    "deploy/systemd/my-service.socket": ("supervisor", {"systemd"}),
    "deploy/systemd/my-service.sysusers": ("supervisor", {"systemd"}),
    "deploy/systemd/nginx.conf": ("supervisor", {"systemd"}),
    "deploy/systemd/outbound.conf": ("supervisor", {"systemd"}),
    "gunicorn.conf.py": ("wsgi_server", {"gunicorn"}),
    "src/my_service/database.py": ("database", {"sqlite"}),
    "src/my_service/migrations/__init__.py": ("database", {"sqlite"}),
    "src/my_service/migrations/env.py": ("database", {"sqlite"}),
    "src/my_service/migrations/script.py.mako": ("database", {"sqlite"}),
    "src/my_service/migrations/versions/0001_notes.py": ("database", {"sqlite"}),
    "src/my_service/routes/greetings.py": ("database", {"none"}),
    "src/my_service/routes/notes.py": ("database", {"sqlite"}),
    "uwsgi.ini": ("wsgi_server", {"uwsgi"}),
    "tests/test_database.py": ("database", {"sqlite"}),
    "tests/test_greetings.py": ("database", {"none"}),
    "tests/test_gunicorn.py": ("wsgi_server", {"gunicorn"}),
    "tests/test_migrations.py": ("database", {"sqlite"}),
    "tests/test_notes.py": ("database", {"sqlite"}),
    "tests/test_uwsgi.py": ("wsgi_server", {"uwsgi"}),
}
EMPEROR = {
    "deploy/uwsgi/emperor.uwsgi.ini",
    "deploy/uwsgi/emperor.uwsgi.service",
    "deploy/uwsgi/my-service.ini",
    "deploy/uwsgi/my-service.tmpfiles",
}
ALWAYS = [
    ".editorconfig",
    ".env.example",
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    "LICENSE",
    "Makefile",
    "README.md",
    "deploy/README.md",
    "deploy/install.sh",
    "deploy/my-service.env",
    "deploy/nginx/from-nginx-1.25.1/my-service-listen.conf",
    "deploy/nginx/from-openssl-3.5/my-service-curves.conf",
    "deploy/nginx/my-service-cache.conf",
    "deploy/nginx/my-service-curves.conf",
    "deploy/nginx/my-service-default-443.conf",
    "deploy/nginx/my-service-default-80.conf",
    "deploy/nginx/my-service-errors.conf",
    "deploy/nginx/my-service-headers.conf",
    "deploy/nginx/my-service-limits.conf",
    "deploy/nginx/my-service-listen.conf",
    "deploy/nginx/my-service-proxy.conf",
    "deploy/nginx/my-service-ssl.conf",
    "deploy/nginx/my-service-tls.conf",
    "deploy/nginx/my-service.conf",
    "deploy/prometheus/my-service-alerts.yml",
    "deploy/prometheus/my-service.yml",
    "docs/runbook.md",
    "pyproject.toml",
    "requirements-dev.txt",
    "requirements.txt",
    "src/my_service/__init__.py",
    "src/my_service/__main__.py",
    "src/my_service/app.py",
    "src/my_service/assets.py",
    "src/my_service/dev.py",
    "src/my_service/environment.py",
    "src/my_service/models.py",
    "src/my_service/routes/__init__.py",
    "src/my_service/routes/health.py",
    "src/my_service/routes/pages.py",
    "src/my_service/server.py",
    "src/my_service/settings.py",
    "src/my_service/static/app.css",
    "src/my_service/telemetry/__init__.py",
    "src/my_service/telemetry/access.py",
    "src/my_service/telemetry/logs.py",
    "src/my_service/telemetry/metrics.py",
    "src/my_service/telemetry/workers.py",
    "src/my_service/views/error.tpl",
    "src/my_service/views/home.tpl",
    "src/my_service/views/layout.tpl",
    "src/my_service/web/__init__.py",
    "src/my_service/web/application.py",
    "src/my_service/web/bearer.py",
    "src/my_service/web/confine.py",
    "src/my_service/web/cors.py",
    "src/my_service/web/errors.py",
    "src/my_service/web/forwarded.py",
    "src/my_service/web/handlers.py",
    "src/my_service/web/hygiene.py",
    "src/my_service/web/inputs.py",
    "src/my_service/web/observe.py",
    "src/my_service/web/problems.py",
    "src/my_service/web/redirects.py",
    "src/my_service/web/seal.py",
    "src/my_service/web/static.py",
    "src/my_service/web/views.py",
    "src/my_service/wsgi.py",
    "tests/__init__.py",
    "tests/conftest.py",
    "tests/connection.py",
    "tests/service.py",
    "tests/stack.py",
    "tests/test_answers.py",
    "tests/test_architecture.py",
    "tests/test_assets.py",
    "tests/test_commands.py",
    "tests/test_concurrency.py",
    "tests/test_deploy.py",
    "tests/test_dev.py",
    "tests/test_forms.py",
    "tests/test_forwarded.py",
    "tests/test_http.py",
    "tests/test_lint.py",
    "tests/test_logs.py",
    "tests/test_metrics.py",
    "tests/test_nginx.py",
    "tests/test_pages.py",
    "tests/test_records.py",
    "tests/test_requests.py",
    "tests/test_routing.py",
    "tests/test_server.py",
    "tests/test_settings.py",
    "tests/test_systemd.py",
]

# Names of devices on Windows, with any suffix, and characters that no name may contain there:
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
DEVICES = r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?"
ILLEGAL = r'.*([<>:"\\|?*\x00-\x1f]|[. ]$).*'


def files(project: Path) -> Iterator[Path]:
    """Return the files of a project."""
    return (path for path in project.rglob("*") if path.is_file())


@pytest.mark.parametrize("answers", COMBINATIONS, ids=name_of)
def test_files_of_combination_are_expected_and_valid(generated: Generate, answers: Answers) -> None:
    project = generated(**answers)
    expected = {path for path, (name, values) in OPTIONAL.items() if answers[name] in values}
    if (answers["wsgi_server"], answers["supervisor"]) == ("uwsgi", "systemd"):
        expected |= EMPEROR
    found = {path.relative_to(project).as_posix() for path in files(project)}
    assert found == expected | set(ALWAYS)
    for path in files(project):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"cookiecutter\.|<%|%>|\{\{ ", text) or path.suffix in (
            ".mako",
            ".yml",
        ), path
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        assert text.strip(), path
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), path
        assert bool(path.stat().st_mode & 0o111) == (path.suffix == ".sh"), path
        match path.suffix:
            case ".toml":
                tomllib.loads(text)
            case ".yml" | ".yaml":
                assert yaml.safe_load(text)
            case ".json":
                json.loads(text)
            case ".service" | ".socket" | ".ini" | ".cfg":
                configparser.ConfigParser(strict=False, interpolation=None).read_string(text)
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
def test_supervisor_changes_no_file_of_the_package(generated: Generate, answers: Answers) -> None:
    """So one supervisor is enough to test the started server and most of the suite."""
    supervised, other = (
        {path.relative_to(project): path.read_bytes() for path in files(project)}
        for project in (generated(**answers), generated(**(answers | {"supervisor": "systemd"})))
    )
    assert {path.as_posix() for path in supervised if supervised[path] != other.get(path)} <= {
        "Makefile", "README.md", "deploy/README.md", "deploy/install.sh", "docs/runbook.md",
        "deploy/my-service.env", "deploy/nginx/my-service.conf", "tests/test_deploy.py",
        *(path for path in OPTIONAL if path.startswith("deploy/supervisor/")),
    }  # fmt: skip


def test_smallest_combination_has_fewest_files(generated: Generate) -> None:
    def count(answers: Answers) -> int:
        return len([*files(generated(**answers))])

    counts = [count(answers) for answers in GROUPS]
    assert count(SMALLEST) == min(counts)

"""Changes that an owner makes: style, types and suite pass, or say in one sentence what to do."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.fixtures import Generate
from ..support.postgresql import Cluster
from ..support.process import check_types, run

PACKAGE = "src/my_service"
# How a comment looks in the owner's files, by their suffix.
COMMENTS = {
    ".py": "# A comment of the owner.",
    ".toml": "# A comment of the owner.",
    ".env": "# A comment of the owner.",
    ".example": "# A comment of the owner.",
    ".mako": "## A comment of the owner.",
    ".tpl": "<!-- A comment of the owner. -->",
    ".css": "/* A comment of the owner. */",
    ".md": "<!-- A comment of the owner. -->",
}
MODULE = '''\
"""Prices of the owner's."""


def with_tax(cents: int) -> int:
    return cents * 119 // 100
'''
HANDLERS = '''\
"""Reports: a package of handlers."""

from msgspec import Struct

from ...prices import with_tax


class Report(Struct):
    total: int


def daily() -> Report:
    return Report(total=with_tax(100))
'''
HANDLERS_TEST = '''\
"""The reports."""

from webtest import TestApp


def test_daily_report_includes_tax(authenticated_client: TestApp) -> None:
    report = authenticated_client.get("/api/v1/reports/daily")
    assert report.json == {"total": 119}
'''
LOGGING_TESTS = '''\
"""Log entries."""

import logging

from bottle_service.telemetry.logging import LineHandler
from my_service.app import SERVICE


def test_command_configures_logging(environ: dict[str, str]) -> None:
    SERVICE.configure_logging(SERVICE.settings.load(environ))
    assert logging.getLogger().level == logging.INFO


def test_next_test_has_the_logging_of_pytest() -> None:
    assert logging.getLogger().level == logging.WARNING
    assert not [one for one in logging.getLogger().handlers if isinstance(one, LineHandler)]
'''
SHARED_TEST = '''\
"""A test of a started server, and of a service of its own."""

import pytest
from webtest import TestApp


def test_note_of_the_server_is_kept(
    authenticated_client: TestApp, request: pytest.FixtureRequest
) -> None:
    note = authenticated_client.post_json("/api/v1/notes", {"title": "Hello"})
    request.getfixturevalue("environ")
    authenticated_client.get(note.headers["Location"])
'''
MIDDLEWARE = '''\
"""A header of every response."""

from collections.abc import Callable, Iterable
from typing import Any

WSGIApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class PermissionsPolicy:
    """WSGI middleware that forbids the camera."""

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, ("Permissions-Policy", "camera=()")], exc_info)

        return self._app(environ, start)
'''
MIDDLEWARE_TEST = '''\
"""The header of every response."""

from webtest import TestApp


def test_errors_have_the_header_too(client: TestApp) -> None:
    response = client.get("/nothing", status=404)
    assert response.headers["Permissions-Policy"] == "camera=()"
'''


def substitute(path: Path, pattern: str, text: str) -> None:
    """Replace the one match of the pattern."""
    changed, count = re.subn(pattern, text, path.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert count == 1, f"{path}: {count} matches of {pattern}"
    path.write_text(changed)


def add_module(project: Path) -> None:
    (project / PACKAGE / "prices.py").write_text(MODULE)


def add_package_of_routes(project: Path) -> None:
    add_module(project)
    reports = project / PACKAGE / "routes" / "reports"
    reports.mkdir()
    (reports / "__init__.py").write_text(HANDLERS)
    table = reports.parent / "__init__.py"
    substitute(table, "^from . import (.*?)$", r"from . import \1, reports")
    table.write_text(
        f'{table.read_text()}    app.route("/api/v1/reports/daily", "GET", reports.daily)\n'
    )
    (project / "tests" / "test_reports.py").write_text(HANDLERS_TEST)


def add_default_header(project: Path) -> None:
    (project / PACKAGE / "policy.py").write_text(MIDDLEWARE)
    app = project / PACKAGE / "app.py"
    substitute(
        app,
        r"^    return (build_application\(.*?^    \))$",
        r"    app = \1\n    app.wsgi = PermissionsPolicy(app.wsgi)\n    return app",
    )
    substitute(
        app, "^from .routes import", "from .policy import PermissionsPolicy\nfrom .routes import"
    )
    (project / "tests" / "test_policy.py").write_text(MIDDLEWARE_TEST)


def add_setting(project: Path) -> None:
    add_setting_without_its_line(project)
    add_line(project / ".env.example", "# The colour of things", "#COLOUR=green")


def add_setting_without_its_line(project: Path) -> None:
    add_line(project / PACKAGE / "settings.py", '    colour: str = "green"')


def add_secret(project: Path) -> None:
    add_secret_without_its_credential(project)
    if (project / "deploy/systemd").exists():
        load_credential(project)


def add_secret_without_its_lines(project: Path) -> None:
    add_field_of_secret(project)
    load_credential(project)


def add_secret_without_its_file(project: Path) -> None:
    add_secret_without_its_lines(project)
    add_line(project / ".env.example", "#PARTNER_KEY=")


def add_secret_without_its_credential(project: Path) -> None:
    add_field_of_secret(project)
    add_line(project / ".env.example", "#PARTNER_KEY=", "#PARTNER_KEY_FILE=")


def add_field_of_secret(project: Path) -> None:
    settings = project / PACKAGE / "settings.py"
    add_line(settings, "    partner_key: Annotated[Secret, Meta(min_length=8)] | None = None")
    imported = "from bottle_service.secret import Secret\n\\g<0>"
    substitute(settings, r"^from bottle_service\.settings", imported)
    substitute(
        settings, "^from typing", "from typing import Annotated\nfrom msgspec import Meta\n\\g<0>"
    )


def add_required_settings(project: Path) -> None:
    """Add a setting and a secret, both without a default."""
    add_required_settings_without_a_value_on_the_host(project)
    add_line(project / "deploy/my-service.env", "PARTNER_URL=https://partner.example/v1")


def add_required_settings_without_a_value_on_the_host(project: Path) -> None:
    add_required_settings_without_values_of_the_tests(project)
    values = '{"PARTNER_URL": "https://partner.example", "PARTNER_PIN": "1234", "APP_ENV": "test",'
    substitute(project / "tests/conftest.py", 'return {"APP_ENV": "test",', f"return {values}")


def add_required_settings_without_values_of_the_tests(project: Path) -> None:
    add_secret(project)
    settings = project / PACKAGE / "settings.py"
    add_line(settings, "    partner_url: Url", "    partner_pin: Secret")
    substitute(
        settings, "import DatabaseSettings, Defaults", "import DatabaseSettings, Defaults, Url"
    )
    lines = ("#PARTNER_URL=https://partner.example", "#PARTNER_PIN=", "#PARTNER_PIN_FILE=")
    add_line(project / ".env.example", *lines)
    load_credential(project, "PARTNER_PIN")


def load_credential(project: Path, name: str = "PARTNER_KEY") -> None:
    substitute(
        project / "deploy/systemd/my-service.service",
        "^LoadCredential=API_TOKENS:",
        f"LoadCredential={name}:/etc/my-service/credentials/{name}\n"
        f"SetCredential={name}:\\\\n\n\\g<0>",
    )


def add_line(path: Path, *lines: str) -> None:
    path.write_text("\n".join([path.read_text(), *lines, ""]))


def add_sentence_to_readme(project: Path) -> None:
    substitute(project / "README.md", "^## Every day$", "We serve it from Hamburg.\n\n## Every day")


def add_comment_to_each_file(project: Path) -> None:
    owned = [*(project / PACKAGE).rglob("*"), *(project / "tests").glob("*")]
    names = (
        ".env.example",
        "README.md",
        "pyproject.toml",
        "gunicorn.conf.py",
        "deploy/my-service.env",
    )
    owned += [project / name for name in names]
    for path in owned:
        if path.is_file() and path.suffix != ".pyc":
            add_line(path, COMMENTS[path.suffix])


def add_table(project: Path) -> None:
    add_line(
        project / PACKAGE / "models.py",
        "class Colour(Base):",
        '    __tablename__ = "colours"',
        "    name: Mapped[str] = mapped_column(primary_key=True)",
    )


def add_check(project: Path) -> None:
    """Add a CHECK without a migration: Alembic does not compare them."""
    models = project / PACKAGE / "models.py"
    substitute(
        models,
        "^from sqlalchemy import MetaData$",
        "from sqlalchemy import CheckConstraint, MetaData",
    )
    add_line(models, '    __table_args__ = (CheckConstraint("title <> body", name="title"),)')


def add_timer_of_an_unknown_command(project: Path) -> None:
    timer = "[Timer]\nOnCalendar=daily\nUnit=my-service@report-overdu.service\n"
    (project / "deploy/systemd/my-service-overdue.timer").write_text(timer)


def add_alert_without_its_section(project: Path) -> None:
    alerts = project / "deploy/prometheus/my-service-alerts.yml"
    alerts.write_text(f"{alerts.read_text()}        runbook_url: docs/runbook.md#overdue-loans\n")


def add_tests_of_logging(project: Path) -> None:
    """Add a test that configures logging, as a command does, and one that must not see that."""
    (project / "tests/test_log_entries.py").write_text(LOGGING_TESTS)


def add_columns_with_their_migration(project: Path) -> None:
    add_columns(project)
    write_migration(project, "Archives and authors")


def add_columns_without_naming_convention(project: Path) -> None:
    """As in a project of release 0.2."""
    models = project / PACKAGE / "models.py"
    substitute(models, "^    metadata = .*?$", "")
    substitute(models, "^from bottle_service.database import .*?$", "")
    substitute(models, "^from sqlalchemy import MetaData$", "")
    add_columns_with_their_migration(project)


def add_columns(project: Path) -> None:
    models = project / PACKAGE / "models.py"
    add_line(
        models,
        "    archived_at: Mapped[datetime | None] = mapped_column(UtcDateTime)",
        '    author_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"), unique=True)',
        "class Author(Base):",
        '    __tablename__ = "authors"',
        "    id: Mapped[int] = mapped_column(primary_key=True)",
        "    born_at: Mapped[datetime] = mapped_column(UtcDateTime)",
    )
    substitute(models, "^from sqlalchemy.orm", "from sqlalchemy import ForeignKey\n\\g<0>")


def write_migration(project: Path, message: str) -> None:
    """Write a migration as `make migration` does, then upgrade and downgrade."""
    for command in (["migrate"], ["revision", "-m", message], ["migrate"], ["downgrade"]):
        arguments = [sys.executable, "-m", "my_service", *command]
        run(*arguments, cwd=project, APP_ENV="development", PYTHONPATH="src")
    (project / "my-service.sqlite3").unlink()


def add_memory(project: Path) -> None:
    substitute(project / "deploy/systemd/my-service.service", "MemoryMax=512M", "MemoryMax=768M")


def extend_graceful_timeout(project: Path) -> None:
    substitute(project / "gunicorn.conf.py", "^graceful_timeout = 40$", "graceful_timeout = 45")


Change = Callable[[Path], None]
GREEN: list[Change] = [
    add_module,
    add_package_of_routes,
    add_default_header,
    add_setting,
    add_secret,
    add_required_settings,
    add_sentence_to_readme,
    add_comment_to_each_file,
    add_columns_with_their_migration,
    add_columns_without_naming_convention,
    add_tests_of_logging,
]
# Changes that need another one, and the sentence of the suite that says which.
INCOMPLETE: list[tuple[Change, str]] = [
    (
        add_setting_without_its_line,
        ".env.example: add the lines ['#COLOUR=green']",
    ),
    (
        add_secret_without_its_lines,
        ".env.example: add the lines ['#PARTNER_KEY=', '#PARTNER_KEY_FILE=']",
    ),
    (
        add_required_settings_without_a_value_on_the_host,
        "deploy/my-service.env: add the lines ['PARTNER_URL=VALUE']",
    ),
    (
        add_secret_without_its_file,
        ".env.example: add a line `#PARTNER_KEY_FILE=` below PARTNER_KEY, because it is a secret",
    ),
    (
        add_secret_without_its_credential,
        "my-service.service: add the lines LoadCredential=PARTNER_KEY:/etc/my-service/credentials/",
    ),
    (
        add_table,
        'run `make migration MESSAGE="what has changed"`, because models.py changed: ',
    ),
    (add_check, "the migrations and models.py differ in a CHECK of notes, which a migration must"),
    (
        add_timer_of_an_unknown_command,
        "my-service-overdue.timer: write Unit=my-service@NAME.service with a NAME of commands.py",
    ),
    (
        add_alert_without_its_section,
        "my-service-alerts.yml: docs/runbook.md has no section #overdue-loans",
    ),
    (add_memory, "my-service.service: change MemoryMax in deploy/README.md, too"),
    (extend_graceful_timeout, "graceful_timeout: change it in deploy/README.md, too"),
]


def name_of(change: Change) -> str:
    return change.__name__


def change_and_format(project: Path, change: Change) -> None:
    """Make the change, and format it as `make format` does."""
    change(project)
    run("ruff", "check", "--no-cache", "--quiet", "--fix", cwd=project)
    run("ruff", "format", "--no-cache", "--quiet", cwd=project)
    check_types(project)


@pytest.mark.parametrize("change", GREEN, ids=name_of)
def test_change_passes_style_types_and_suite(copied: Generate, change: Change) -> None:
    project = copied()
    change_and_format(project, change)
    run("pytest", cwd=project)


@pytest.mark.parametrize(
    ("change", "advice"), INCOMPLETE, ids=lambda value: getattr(value, "__name__", "")
)
def test_incomplete_change_fails_with_advice(copied: Generate, change: Change, advice: str) -> None:
    """One test fails, and its message is one line."""
    project = copied()
    change_and_format(project, change)
    done = subprocess.run(["pytest"], cwd=project, check=False, capture_output=True, text=True)
    assert re.search("^1 failed, ", done.stdout, re.MULTILINE), done.stdout
    messages = re.findall(r"^E   +(?:AssertionError|Failed): (.*)$", done.stdout, re.MULTILINE)
    assert len(messages) == 1, done.stdout
    assert advice in messages[0]


@pytest.mark.parametrize(
    "answers",
    [
        {"wsgi_server": "waitress", "supervisor": "supervisord", "database": "none"},
        {"wsgi_server": "uwsgi", "supervisor": "supervisord"},
        {"wsgi_server": "uwsgi", "supervisor": "systemd"},
    ],
    ids=lambda answers: "-".join(answers.values()),
)
def test_secret_passes_the_suite_of_each_supervisor(
    copied: Generate, answers: dict[str, str]
) -> None:
    """supervisord and uWSGI's emperor pass the whole directory of credentials."""
    project = copied(**answers)
    change_and_format(project, add_secret)
    run("pytest", cwd=project)


def test_required_setting_without_a_value_of_the_tests_fails_with_advice(copied: Generate) -> None:
    """The suite stops with one line, because no test can run."""
    project = copied()
    change_and_format(project, add_required_settings_without_values_of_the_tests)
    done = subprocess.run(["pytest"], cwd=project, check=False, capture_output=True, text=True)
    advice = "tests/conftest.py: add PARTNER_PIN, PARTNER_URL to service_environ()"
    assert [line for line in done.stderr.splitlines() if line] == [f"ERROR: {advice}: required"]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_started_server_has_a_directory_and_a_database_of_its_own(
    copied: Generate, postgresql: Cluster, database: str
) -> None:
    """A test can use the fixtures `client` and `environ` together."""
    project = copied(database=database)
    (project / "tests/test_shared.py").write_text(SHARED_TEST)
    url = postgresql.url("postgres")
    server = ("--server", "unix", "tests/test_shared.py")
    printed = run("pytest", "--color=no", *server, cwd=project, TEST_DATABASE_URL=url)
    assert "1 shared cases passed" in printed

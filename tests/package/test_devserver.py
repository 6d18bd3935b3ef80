"""Development server: the token in `.env`, the restart after a change, and the banner."""

import os
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from watchfiles import Change

from bottle_service.database.migrations import Migrations
from bottle_service.database.sqlite import Database
from bottle_service.database.url import DatabaseUrl
from bottle_service.devserver import banner, ensure_dev_token, migrate, should_reload

from .sample.app import SERVICE
from .sample.settings import Settings
from .schema import copy_migrations


def clients() -> list[tuple[str, str]]:
    tokens = Settings.load(os.environ).api_tokens
    return [(name, token.reveal()) for name, token in tokens.clients]


@pytest.fixture
def _development(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"APP_ENV": "development"})


@pytest.mark.usefixtures("_development")
@pytest.mark.parametrize("file", ["another-file", ".env", ".env.development"])
def test_dev_token_is_created_once(file: str) -> None:
    """An empty API_TOKENS in a file counts as not set."""
    Path(file).write_text("API_TOKENS=\n")
    ensure_dev_token(Settings)
    ((name, token),) = created = clients()
    assert (name, len(token) >= 32) == ("dev", True)
    ensure_dev_token(Settings)
    assert clients() == created


@pytest.mark.usefixtures("_development")
def test_file_of_the_dev_token_is_private() -> None:
    ensure_dev_token(Settings)
    assert Path(".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("_development")
@pytest.mark.parametrize("text", ["API_TOKENS=me:mine\n", "API_TOKENS=invalid\n"])
def test_dev_token_replaces_no_value(text: str) -> None:
    Path(".env").write_text(text)
    ensure_dev_token(Settings)
    assert Path(".env").read_text() == text


@pytest.mark.parametrize(
    ("path", "reloads"),
    [
        (".env", True),
        (".env.development", True),
        ("src/service/app.py", True),
        ("src/service/views/error.tpl", True),
        ("src/service/migrations/env.py", True),
        ("src/service/migrations/versions/0002_new.py", False),
        ("db.sqlite3", False),
        (".venv/lib/module.py", False),
    ],
)
def test_change_of_a_source_triggers_a_reload(path: str, reloads: bool) -> None:
    """The author reads a new migration before a restart applies it."""
    assert should_reload(Change.modified, f"/project/{path}") == reloads


STEP = """
from alembic import op

revision, down_revision = "0001_things", {before!r}


def upgrade() -> None:
    {statement}
"""
GOOD = STEP.format(before=None, statement='op.execute("CREATE TABLE things (name)")')
BROKEN = {
    "no such table: things": 'op.execute("DROP TABLE things")',
    "NameError: name 'statement' is not defined": "op.execute(statement)",
    "SyntaxError: ": "op.execute(",
}


class Migrating:
    """`migrate` of the development server in a thread, on a revision that cannot be applied."""

    def __init__(self, directory: Path, content: str) -> None:
        self.revision = copy_migrations(directory) / "0001_things.py"
        self.revision.write_text(content)
        self.database = directory / "db.sqlite3"
        service = replace(SERVICE, directory=directory, open_database=self._open_database)
        self.thread = threading.Thread(target=migrate, args=[service], daemon=True)

    def _open_database(self, _settings: Any) -> Database:
        url = DatabaseUrl(f"sqlite:///{self.database}")
        migrations = Migrations(self.revision.parents[1])
        return Database(url, migrations, threads=1, busy_timeout=1.0)

    def start(self, capfd: pytest.CaptureFixture[str]) -> str:
        """Start, and return what is printed until it waits for a change."""
        self.thread.start()
        output = ""
        while "Waiting for a change" not in output:
            assert self.thread.is_alive(), output
            time.sleep(0.05)
            output += capfd.readouterr().err
        time.sleep(1.2)
        assert capfd.readouterr().err == ""
        return output

    def has_migrated(self) -> bool:
        self.thread.join(timeout=10)
        with closing(sqlite3.connect(self.database)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        return not self.thread.is_alive() and "things" in tables


@pytest.mark.usefixtures("_development")
@pytest.mark.parametrize("message", BROKEN)
def test_failed_migration_is_repeated_after_its_repair(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], message: str
) -> None:
    migrating = Migrating(tmp_path, STEP.format(before=None, statement=BROKEN[message]))
    assert message in migrating.start(capfd)
    migrating.revision.write_text(GOOD)
    assert migrating.has_migrated()


@pytest.mark.usefixtures("_development")
def test_migration_goes_on_after_a_database_of_another_branch_was_deleted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    migrating = Migrating(tmp_path, GOOD)
    with closing(sqlite3.connect(migrating.database)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001_theirs')")
        connection.commit()
    assert "lacks 0001_things of this tree" in migrating.start(capfd)
    migrating.database.unlink()
    assert migrating.has_migrated()


@pytest.mark.usefixtures("_development")
def test_banner_has_url_token_and_a_first_call() -> None:
    ensure_dev_token(Settings)
    ((_, token),) = clients()
    text = banner(SERVICE, Settings.load(os.environ), "http://127.0.0.1:8000")
    assert f"token of 'dev': {token}" in text
    assert f"-H 'Authorization: Bearer {token}'" in text
    assert """-d '{"name": "World"}' http://127.0.0.1:8000/greetings""" in text

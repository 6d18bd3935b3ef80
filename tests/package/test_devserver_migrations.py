"""Development server of a generated project: what it does when a migration fails or is missing."""

import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from ..support.fixtures import Generate
from ..support.process import free_port, run

WAITING = "waiting for a change of a source, a setting, a migration or the database"
STEP = """
from alembic import op

revision, down_revision = "0002_step", "0001_notes"


def upgrade() -> None:
    {}
"""


class DevelopmentServer:
    """`make run` in a project, without its environment."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.package = project / "src" / "my_service"
        self.versions = self.package / "migrations" / "versions"
        self.database = project / "my-service.sqlite3"
        self._url = f"http://127.0.0.1:{free_port()}"
        self._log = project / "log"

    @contextmanager
    def started(self) -> Iterator[None]:
        environ = {**os.environ, "APP_ENV": "development", "PYTHONPATH": "src"}
        environ["BIND"] = self._url.removeprefix("http://")
        command = [sys.executable, "-u", "-m", "bottle_service.devserver", "my_service"]
        with self._log.open("w") as log:
            process = subprocess.Popen(
                command, cwd=self.project, env=environ, stdout=log, stderr=log
            )
        try:
            yield
        finally:
            process.send_signal(2)
            process.wait(timeout=30)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        for _ in range(600):
            if condition():
                return
            time.sleep(0.1)
        pytest.fail(self.log())

    def log(self) -> str:
        return self._log.read_text()

    def waits(self) -> bool:
        return WAITING in self.log()

    def is_ready(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self._url}/readyz", timeout=5):
            return True
        return False

    def run(self, *command: str) -> None:
        arguments = [sys.executable, "-m", "my_service", *command]
        run(*arguments, cwd=self.project, APP_ENV="development", PYTHONPATH="src")


@pytest.fixture
def server(copied: Generate) -> DevelopmentServer:
    return DevelopmentServer(copied(database="sqlite"))


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ('op.execute("DROP TABLE things")', "no such table: things"),
        ("op.execute(statement)", "NameError: name 'statement' is not defined"),
        ("op.execute(", "SyntaxError: "),
    ],
)
def test_failed_migration_is_run_again_after_its_repair(
    server: DevelopmentServer, statement: str, message: str
) -> None:
    step = server.versions / "0002_step.py"
    step.write_text(STEP.format(statement))
    with server.started():
        server.wait_until(server.waits)
        assert message in server.log()
        time.sleep(1.5)
        assert server.log().count(WAITING) == 1
        step.write_text(STEP.format('op.execute("CREATE TABLE things (name)")'))
        server.wait_until(server.is_ready)


def test_database_of_another_branch_can_be_deleted(server: DevelopmentServer) -> None:
    with closing(sqlite3.connect(server.database)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001_theirs')")
        connection.commit()
    with server.started():
        server.wait_until(server.waits)
        assert "lacks 0001_notes of this tree" in server.log()
        server.database.unlink()
        server.wait_until(server.is_ready)


def test_service_that_needs_a_migration_starts_once_it_has_run(server: DevelopmentServer) -> None:
    """The model was saved before its migration, and the application reads it when it starts."""
    models = server.package / "models.py"
    models.write_text(f"{models.read_text()}    colour: Mapped[str | None]\n")
    app = server.package / "app.py"
    reading = (
        "    database = open_database(settings)\n"
        '    with database.session("GET") as session:\n'
        "        session.query(Note).first()\n"
    )
    text = app.read_text().replace("    database = open_database(settings)\n", reading)
    app.write_text(text.replace("from .routes", "from .models import Note\nfrom .routes"))
    with server.started():
        server.wait_until(server.waits)
        assert "no such column: notes.colour" in server.log()
        assert not server.is_ready()
        server.run("revision", "-m", "Colours")
        server.wait_until(server.is_ready)


def test_service_goes_on_when_its_tables_are_migrated(server: DevelopmentServer) -> None:
    """No restart is needed: the migration of a saved model is read by its author first."""
    with server.started():
        server.wait_until(server.is_ready)
        step = server.versions / "0002_step.py"
        step.write_text(STEP.format('op.execute("CREATE TABLE things (name)")'))
        time.sleep(1)
        assert server.is_ready()
        server.run("migrate")
        assert server.is_ready()

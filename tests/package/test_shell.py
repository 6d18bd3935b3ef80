"""The command `shell` of a generated project: names, transactions and exit status."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ..support.fixtures import Generate
from ..support.terminal import Terminal

COMMAND = [sys.executable, "-m", "my_service"]
ADD = 'now = clock(); session.add(Note(title="Hello", body="", created_at=now, updated_at=now))\n'
ROLLED_BACK = "my-service: the changes are rolled back, because session.commit() was not called\n"


@pytest.fixture(scope="module")
def migrated(generated: Generate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a migrated database."""
    directory = tmp_path_factory.mktemp("migrated")
    subprocess.run([*COMMAND, "migrate"], cwd=directory, env=environ(generated()), check=True)
    return directory


@pytest.fixture
def directory(migrated: Path, tmp_path: Path) -> Path:
    """A working directory with a database of the test's own."""
    return Path(shutil.copytree(migrated, tmp_path, dirs_exist_ok=True))


def environ(project: Path) -> dict[str, str]:
    token = f"tester:{'s' * 32}"
    return os.environ | {"APP_ENV": "test", "API_TOKENS": token, "PYTHONPATH": f"{project}/src"}


def run_shell(project: Path, directory: Path, program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, "shell"],
        input=program,
        cwd=directory,
        env=environ(project),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def titles(directory: Path) -> list[str]:
    with closing(sqlite3.connect(directory / "test.sqlite3")) as connection:
        return [title for (title,) in connection.execute("SELECT title FROM notes ORDER BY id")]


def write(directory: Path, statement: str) -> None:
    """Write to the database as another process does, without waiting for a lock."""
    with closing(sqlite3.connect(directory / "test.sqlite3", timeout=0)) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    ("program", "status", "out", "err", "left"),
    [
        ("print(settings.app_env, session.get(Note, 1), clock().year > 2025)", 0, "None", "", []),
        (f"{ADD}session.commit()", 0, "", "", ["Hello"]),
        (f"{ADD}", 0, "", ROLLED_BACK, []),
        (f"{ADD}session.flush(); print(1 / 0)", 1, "", ROLLED_BACK, []),
        (f"{ADD}raise SystemExit(3)", 3, "", ROLLED_BACK, []),
    ],
    ids=["names", "committed", "not committed", "exception", "exit"],
)
def test_program_from_a_pipe_writes_only_what_it_commits(
    generated: Generate,
    directory: Path,
    program: str,
    status: int,
    out: str,
    err: str,
    left: list[str],
) -> None:
    done = run_shell(generated(), directory, program)
    assert (done.returncode, titles(directory)) == (status, left)
    assert out in done.stdout
    assert err in done.stderr
    assert ("ZeroDivisionError" in done.stderr) == (status == 1)
    assert status == 1 or done.stderr == err


def test_shell_without_a_database_has_the_other_dependencies(
    generated: Generate, tmp_path: Path
) -> None:
    done = run_shell(generated(database="none"), tmp_path, "print(clock().tzinfo, settings.bind)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "UTC 127.0.0.1:8000\n", "")


def test_shell_needs_valid_settings(generated: Generate, tmp_path: Path) -> None:
    done = run_shell(generated(), tmp_path, "")
    assert done.returncode == 2
    assert "run the command `migrate`" in done.stderr


def test_no_transaction_is_open_while_a_person_types(generated: Generate, directory: Path) -> None:
    write(directory, "INSERT INTO notes VALUES (1, 'first', '', '2026-11-30', '2026-11-30', '1')")
    terminal = Terminal(*COMMAND, "shell", cwd=directory, **environ(generated()))

    def type_line(line: str, printed: str = ">>> ") -> None:
        terminal.type(f"{line}\n")
        terminal.read_until(printed, 20)

    terminal.read_until("Note", 20)
    assert "session" in terminal.text
    terminal.read_until(">>> ", 20)
    type_line("note = session.get(Note, 1); note.title = note.title.upper()")
    type_line(ADD.rstrip())
    type_line("len(session.scalars(select(Note)).all())", "1\n>>> ")
    # The session has read and holds changes, but another process writes.
    write(directory, "UPDATE notes SET body = 'by another process'")
    type_line("session.commit()")  # despite the write of the other process since the read
    assert titles(directory) == ["FIRST", "Hello"]
    type_line("1 / 0", "ZeroDivisionError: division by zero\n>>> ")
    type_line("_ = session.execute(update(Note).values(title='lost'))")
    with pytest.raises(sqlite3.OperationalError, match="locked"):  # until commit or rollback
        write(directory, "UPDATE notes SET body = ''")
    terminal.type("\x04")
    terminal.read_until(ROLLED_BACK, 20)
    terminal.end()
    assert terminal.process.returncode == 0
    assert titles(directory) == ["FIRST", "Hello"]
    write(directory, "UPDATE notes SET body = ''")

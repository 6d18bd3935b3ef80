"""Commands `backup`, `restore` and `migrate --backup`: content, files, failures, and the metric."""

import fcntl
import os
import re
import resource
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from webtest import TestApp

from bottle_service.cli import main
from bottle_service.database.migrations import Migrations
from bottle_service.database.sqlite import Database
from bottle_service.database.url import DatabaseUrl
from bottle_service.service import Service
from bottle_service.settings import DatabaseSettings

from .exposition import samples
from .sample.app import SERVICE
from .schema import copy_migrations
from .tokens import ADMIN_TOKEN

STEP = """
from alembic import op

revision, down_revision = {revision!r}, {before!r}


def upgrade() -> None:
    {statement}
"""
NAME = r"sample-service-\d{8}T\d{6}Z-0001_things\.sqlite3"
BEFORE = "20200101T000000Z-0001_things.sqlite3"


class Settings(DatabaseSettings, frozen=True, kw_only=True):
    """Those of a service with a database."""


class Backups:
    """A service with a database of 2 000 rows, and the directory of its backups."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = directory / "db.sqlite3"
        self.directory = directory / "backups"
        self.versions = copy_migrations(directory)
        self.migrations = Migrations(self.versions.parent)
        self._capsys = capsys
        self.add("0001_things", None, 'op.execute("CREATE TABLE things (name TEXT)")')
        self.database = self.open(None)
        self.database.migrate()
        self.execute("WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 2000)"
                     " INSERT INTO things SELECT i || hex(randomblob(50)) FROM n")  # fmt: skip

    def open(self, _settings: object) -> Database:
        url = DatabaseUrl(f"sqlite:///{self.path}")
        return Database(url, self.migrations, threads=2, busy_timeout=5.0)

    @property
    def service(self) -> Service:
        return replace(SERVICE, settings=Settings, open_database=self.open)

    def add(self, revision: str, before: str | None, statement: str) -> None:
        step = STEP.format(revision=revision, before=before, statement=statement)
        (self.versions / f"{revision}.py").write_text(step)

    def add_second(self) -> None:
        self.add("0002_more", "0001_things", 'op.execute("CREATE TABLE more (name TEXT)")')

    def execute(self, statement: str, path: Path | None = None) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(path or self.path, isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()

    def run(self, *command: str) -> str:
        """Run a command that must succeed, and return its output."""
        main(self.service, command)
        return self._capsys.readouterr().out

    def fail(self, *command: str) -> str:
        """Run a command that must fail as backups do, and return its message."""
        with pytest.raises(SystemExit) as exit_:
            main(self.service, command)
        message = str(exit_.value)
        assert message.startswith(f"sample-service: {command[0]} failed: ")
        return message

    def files(self) -> list[str]:
        return sorted(os.listdir(self.directory))

    def backup(self) -> Path:
        """Write a backup, and return its path."""
        return Path(re.findall(r"sample-service: backup (\S+)", self.run("backup"))[0])


@pytest.fixture
def backups(
    tmp_path: Path,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Backups]:
    monkeypatch.setattr(os, "environ", environ)
    backups = Backups(tmp_path, capsys)
    yield backups
    backups.database.close()


def test_backup_under_load_has_each_earlier_write_once(backups: Backups, tmp_path: Path) -> None:
    written: list[str] = []
    stop = threading.Event()

    def write(writer: int) -> None:
        for number in range(100_000):
            if stop.is_set():
                return
            with backups.database.session("POST") as session:
                name = f"{writer}-{number}"
                session.execute(text("INSERT INTO things VALUES (:name)"), {"name": name})
            written.append(name)

    def wait_for_writes(count: int) -> None:
        end = time.monotonic() + 20
        while len(written) < count:
            assert time.monotonic() < end
            time.sleep(0.01)

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, writer) for writer in range(2)]
        try:
            wait_for_writes(20)
            before = set(written)
            backup = backups.backup()
            wait_for_writes(len(written) + 20)  # writing goes on
        finally:
            stop.set()
        for writer in writers:
            writer.result()
    restored = tmp_path / "restored.sqlite3"
    backups.run("restore", str(backup), "--into", str(restored))
    names = Counter(name for (name,) in backups.execute("SELECT name FROM things", restored))
    assert before <= names.keys()
    assert len(names) < 2000 + len(written)
    assert set(names.values()) == {1}
    assert backups.execute("PRAGMA integrity_check", restored) == [("ok",)]
    assert backups.execute("PRAGMA journal_mode", restored) == [("wal",)]
    backups.path = restored
    backups.execute("INSERT INTO things VALUES ('afterwards')")
    assert backups.open(None).problems() == []


def test_backup_beside_a_rewriting_migration_has_all_rows(backups: Backups) -> None:
    """The migration has emptied the table, and is not committed."""
    emptied, go_on = threading.Event(), threading.Event()

    def migrate() -> None:
        with backups.database.migrating() as connection:
            connection.execute(text("DELETE FROM things"))
            connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
            emptied.set()
            go_on.wait(20)

    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(migrate)
        assert emptied.wait(20)
        backup = backups.backup()
        go_on.set()
        migration.result()
    assert backups.execute("SELECT count(*) FROM things", backup) == [(2000,)]
    assert re.fullmatch(NAME, backup.name)


def test_backup_is_private_and_has_time_and_revision(backups: Backups) -> None:
    output = backups.run("backup")
    (name,) = backups.files()
    path = backups.directory / name
    assert re.fullmatch(NAME, name)
    assert output == f"sample-service: backup {path} ({path.stat().st_size} bytes)\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert backups.directory.stat().st_mode & 0o777 == 0o700


def test_old_backups_are_removed_after_a_good_one(
    backups: Backups, environ: dict[str, str]
) -> None:
    environ["BACKUP_KEEP_DAYS"] = "3"
    backups.directory.mkdir()
    now = time.time()
    names = {days: time.strftime("sample-service-%Y%m%dT%H%M%SZ-0001_things.sqlite3",
                                 time.gmtime(now - days * 86400)) for days in (2.9, 3.1)}  # fmt: skip
    others = [f"sample-service-other-{BEFORE}", "sample-service.sqlite3", f"my-{BEFORE}"]
    for name in [*names.values(), *others]:
        (backups.directory / name).touch()
    everything = backups.files()
    backups.path.rename(f"{backups.path}-away")
    assert "there is no database" in backups.fail("backup")
    assert backups.files() == everything
    Path(f"{backups.path}-away").rename(backups.path)
    backup = backups.backup()
    assert backups.files() == sorted([*others, names[2.9], backup.name])


def test_backup_goes_into_another_directory(backups: Backups, tmp_path: Path) -> None:
    backups.run("backup", "--into", str(tmp_path / "own"))
    assert not backups.directory.exists()
    assert len(os.listdir(tmp_path / "own")) == 1


def test_parts_of_a_killed_backup_are_removed(backups: Backups) -> None:
    backups.directory.mkdir()
    for suffix in ("", "-journal"):
        (backups.directory / f"sample-service.part{suffix}").write_bytes(b"part")
    assert backups.backup().name == "".join(backups.files())


def test_second_backup_waits_for_the_first(backups: Backups) -> None:
    backups.directory.mkdir()
    lock = os.open(backups.directory, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    second = threading.Thread(target=backups.run, args=["backup"])
    second.start()
    second.join(0.3)
    assert backups.files() == []
    os.close(lock)
    second.join(20)
    assert len(backups.files()) == 1


def test_full_disk_fails_the_backup_and_leaves_the_last_one(backups: Backups) -> None:
    """A limit of the file size has the effect of a full disk."""
    backup = backups.backup()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        message = backups.fail("backup")
        refusal = backups.fail("restore", str(backup), "--into", "restored.sqlite3")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"cannot copy {backups.path} to backups: disk I/O error; " in message
    assert refusal.endswith("cannot write restored.sqlite3: File too large")
    assert backups.files() == [backup.name]
    assert not [*backups.path.parent.glob("restored*")]


def test_damaged_database_fails_the_backup(backups: Backups) -> None:
    backups.database.close()
    with backups.path.open("r+b") as file:
        file.seek(10 * 4096)
        file.write(b"\xff" * 4096)
    assert ".part is damaged: " in backups.fail("backup")
    assert backups.files() == []


@pytest.mark.parametrize(
    ("directory", "reason"), [("missing/backups", "No such file"), ("db.sqlite3", "File exists")]
)
def test_missing_directory_is_reported(
    backups: Backups, environ: dict[str, str], directory: str, reason: str
) -> None:
    environ["BACKUP_DIRECTORY"] = directory
    message = backups.fail("backup")
    assert f"cannot write to {directory}: {reason}" in message
    assert "set BACKUP_DIRECTORY to" in message


def test_restored_database_is_readable_by_its_group_only(backups: Backups) -> None:
    backup = backups.backup()
    output = backups.run("restore", str(backup), "--into", "restored.sqlite3")
    assert output.startswith("sample-service: restored.sqlite3 is a database at revision 0001_th")
    assert "\nnext: stop the service, replace its database by this file, and start" in output
    restored = backups.path.with_name("restored.sqlite3")
    assert restored.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in restored.parent.glob("restored*")) == [restored.name]


@pytest.mark.parametrize(
    "case", ["missing", "text", "cut", "foreign", "newer", "in use", "live", "target's log"]
)
def test_restore_refuses(backups: Backups, case: str) -> None:
    backup, target, reason = backups.backup(), Path("restored.sqlite3"), "is not a backup, or is"
    if case == "missing":
        backup, reason = Path("nothing"), "there is no file nothing"
    elif case == "text":
        backup.write_text("not a database " * 100)
    elif case == "cut":
        os.truncate(backup, backup.stat().st_size // 2)
        reason = "damaged"
    elif case == "foreign":
        backups.execute("DROP TABLE alembic_version", backup)
        reason = "has no revision"
    elif case == "newer":
        (backups.versions / "0001_things.py").unlink()
        backups.add("0000_other", None, "pass")
        reason = "is at revision 0001_things, which this release does not know; use the release"
    elif case == "in use":
        Path(f"{backup}-wal").touch()
        reason = "is a database in use"
    elif case == "live":
        target, reason = backups.path, "db.sqlite3 exists; write to a new file"
    else:
        Path(f"{target}-wal").touch()
        reason = "restored.sqlite3-wal exists"
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert reason in backups.fail("restore", str(backup), "--into", str(target))
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def test_migrate_writes_a_backup_only_if_a_migration_is_needed(backups: Backups) -> None:
    backups.run("migrate", "--backup")
    backups.add_second()
    output = backups.run("migrate", "--backup")
    (name,) = backups.files()
    assert re.fullmatch(NAME, name)
    assert f"backup {backups.directory / name} (" in output
    assert backups.database.problems() == []
    backups.run("migrate", "--backup")
    assert backups.files() == [name]


def test_migrate_of_a_new_database_needs_no_backup(backups: Backups, tmp_path: Path) -> None:
    backups.path = tmp_path / "new.sqlite3"
    backups.run("migrate", "--backup")
    assert not backups.directory.exists()


def test_failed_backup_stops_the_migration(backups: Backups) -> None:
    backups.add_second()
    backups.directory.touch()
    assert "File exists" in backups.fail("migrate", "--backup")
    assert "0002_more is needed" in str(backups.database.problems()[0])


def test_metric_has_the_time_of_the_newest_backup(
    backups: Backups, environ: dict[str, str]
) -> None:
    def read() -> float:
        response = client.get("/metrics", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        (value,) = samples(response.text, "database_backup_timestamp_seconds").values()
        return float(value)

    app = SERVICE.create_app(Settings.load(environ))
    client = TestApp(app)
    assert read() == 0
    backups.directory.mkdir()
    (backups.directory / f"sample-service-other-{BEFORE}").touch()
    assert read() == 0
    (backups.directory / f"sample-service-{BEFORE}").touch()
    assert read() == 1577836800
    before = int(time.time())
    shutil.copy(backups.backup(), backups.directory / "sample-service.part")
    assert before <= read() <= time.time()
    app.close()

"""docs/how-to/backup.md. debian/test_release.py and test_supervisord.py run backups on hosts."""

import sqlite3
from contextlib import closing
from pathlib import Path

from ..support.fixtures import Generate
from ..support.postgresql import Cluster
from .steps import follow


def check_files(project: Path, suffix: str, drill: str) -> None:
    assert "my-service could start: development" in drill
    (backup,) = (project / "backups").iterdir()
    assert backup.name.endswith(f"Z-0001_notes{suffix}")
    timer = (project / "deploy/systemd/my-service-backup.timer").read_text()
    assert "\nOnCalendar=*-*-* 00/6:00\n" in timer


def test_backup_of_sqlite_is_written_and_restored(copied: Generate) -> None:
    project = copied()
    _, drill = follow(project, "backup.md")
    check_files(project, ".sqlite3", drill)
    with closing(sqlite3.connect(project / "restored.sqlite3")) as restored:
        assert restored.execute("SELECT count(*) FROM notes").fetchone() == (0,)


def test_backup_of_postgresql_is_written_and_restored(
    copied: Generate, postgresql: Cluster
) -> None:
    project = copied(database="postgresql")
    postgresql.execute('CREATE DATABASE "my-service"')
    try:
        _, drill = follow(project, "backup.md", PGHOST=str(postgresql.directory), PGUSER="postgres")
        check_files(project, ".dump", drill)
        assert postgresql.execute("SELECT count(*) FROM notes", "my-service-restored") == [(0,)]
    finally:
        for name in ("my-service", "my-service-restored"):
            postgresql.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

"""docs/how-to/backup.md. debian/test_release.py and test_supervisord.py run backups on hosts."""

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..support.fixtures import Generate
from ..support.git import git
from ..support.postgresql import Cluster
from .steps import DIRECTORY, follow


def follow_page(project: Path, suffix: str, host: str = "") -> list[str]:
    """Follow the page where an older backup exists, which cannot be restored."""
    page = project / DIRECTORY / "backup.md"
    copies = "/srv/backups/my-service/"  # of the other host
    page.write_text(re.sub(rf"(ls ){copies}", r"\1backups/", page.read_text()))
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y%m%dT%H%M%SZ")
    older = project / f"backups/my-service-{yesterday}-0001_notes{suffix}"
    older.parent.mkdir()
    older.touch()
    outputs = follow(project, "backup.md", PGHOST=host, PGUSER="postgres")
    backup, *others = {*older.parent.iterdir()} - {older}
    assert re.fullmatch(rf".*Z-0001_notes{suffix}", backup.name)
    assert not others
    assert "my-service could start: development" in outputs[1]
    timer = (project / "deploy/systemd/my-service-backup.timer").read_text()
    assert "\nOnCalendar=*-*-* 00/6:00\n" in timer
    # A release of this tree is not refused because of its data, and contains none.
    git("init", "-q", cwd=project)
    status = git("status", "--porcelain", "--untracked-files=all", cwd=project)
    assert not [line for line in status.splitlines() if suffix in line]
    return outputs


def test_backup_of_sqlite_is_written_and_restored(copied: Generate) -> None:
    project = copied()
    first, _ = follow_page(project, ".sqlite3")
    assert "\nnext: stop the service, replace its database by this file, and start" in first
    with closing(sqlite3.connect(project / "restored.sqlite3")) as restored:
        assert restored.execute("SELECT count(*) FROM notes").fetchone() == (0,)


def test_backup_of_postgresql_is_written_and_restored(
    copied: Generate, postgresql: Cluster
) -> None:
    project = copied(database="postgresql")
    postgresql.execute('CREATE DATABASE "my-service"')
    try:
        first, *_ = follow_page(project, ".dump", str(postgresql.directory))
        assert "\nnext: set DATABASE_URL to this database, and restart the service " in first
        assert postgresql.execute("SELECT count(*) FROM notes", "my-service-restored") == [(0,)]
    finally:
        for name in ("my-service", "my-service-restored", "my-service-drill"):
            postgresql.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

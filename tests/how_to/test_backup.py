"""docs/how-to/backup.md. debian/test_release.py and test_supervisord.py run backups on hosts."""

import sqlite3
from contextlib import closing

from ..support.fixtures import Generate
from .steps import follow


def test_backup_is_written_and_restored(copied: Generate) -> None:
    project = copied()
    _, drill = follow(project, "backup.md")
    assert "my-service could start: development" in drill
    (backup,) = (project / "backups").iterdir()
    with closing(sqlite3.connect(project / "restored.sqlite3")) as restored:
        assert restored.execute("SELECT count(*) FROM notes").fetchone() == (0,)
        (revision,) = restored.execute("SELECT version_num FROM alembic_version").fetchone()
    assert backup.name.endswith(f"Z-{revision}.sqlite3")
    timer = (project / "deploy/systemd/my-service-backup.timer").read_text()
    assert "\nOnCalendar=*-*-* 00/6:00\n" in timer

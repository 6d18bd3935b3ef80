"""The history of the tables, by Alembic: one file in versions/ for each step, in their order."""

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, MetaData

from ..environment import BootError, Problem

if TYPE_CHECKING:
    from alembic.config import Config

VERSIONS = Path(__file__).with_name("versions")


def revisions() -> list[str]:
    """Return every revision, oldest first: a revision's name is its file's."""
    return sorted(path.stem for path in VERSIONS.glob("[0-9]*.py"))


def problems() -> list[Problem]:
    """Say which revisions are both the newest, as after a merge: only their own files name them."""
    texts = [path.read_text(encoding="utf-8") for path in VERSIONS.glob("[0-9]*.py")]
    names = Counter(name for text in texts for name in set(re.findall(r"[\"']([\w-]+)[\"']", text)))
    newest = [name for name in revisions() if names[name] == 1]
    if len(newest) < 2:
        return []
    advice = (
        "give the one that no database has yet a number after the other's, in its file's name"
        " and its revision, and the other as its down_revision"
    )
    return [Problem("", f"{' and '.join(newest)} are both the newest: {advice}", str(VERSIONS))]


def upgrade(connection: Connection) -> str | None:
    """Run the steps that the database has not had, in the connection's transaction.

    Returns the database's revision if there is no such step here: it is a newer release's, and
    its tables stay as they are. Raises BootError when two revisions are the newest, and when rows
    are left that refer to no row: meanwhile foreign keys are off.
    """
    from alembic import command  # Alembic is slow to import, and the server has no use for it
    from alembic.migration import MigrationContext

    if wrong := problems():
        raise BootError(wrong)
    known = revisions()
    current = MigrationContext.configure(connection).get_current_revision()
    if current not in (None, *known):
        return current
    if current not in known[-1:]:
        command.upgrade(_config(connection), "head")
        _refuse_orphans(connection)
    return None


def _refuse_orphans(connection: Connection) -> None:
    """Say once for all steps what foreign keys, if they were on, would say of each statement."""
    query = 'SELECT DISTINCT "table", parent FROM pragma_foreign_key_check'
    orphans = connection.exec_driver_sql(query).all()
    if orphans:
        text = "rows of {} would refer to rows of {} that are not there"
        raise BootError(Problem("DATABASE_URL", text.format(*pair)) for pair in orphans)


def revise(connection: Connection, metadata: MetaData, message: str) -> None:
    """Write the next step: from the tables there are to those of the metadata."""
    from alembic import command

    number = len(revisions()) + 1
    name = re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")
    config = _config(connection, metadata)
    command.revision(config, message, autogenerate=True, rev_id=f"{number:04}_{name}")


def _config(connection: Connection, metadata: MetaData | None = None) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "metadata": metadata})
    config.set_main_option("script_location", str(VERSIONS.parent).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s")
    config.set_main_option("path_separator", "os")
    return config

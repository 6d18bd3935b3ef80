"""Migrations with Alembic: one file in `versions/` for each revision, numbered in their order."""

import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, MetaData

from ..startup import StartupError, StartupProblem

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["Migrations", "run_alembic"]


class Migrations:
    """The migrations in a directory, which holds `env.py`, `script.py.mako` and `versions/`.

    A file of `versions/` is named after its revision, such as `0001_notes.py`. So `problems` and
    `revisions` can read the directory without Alembic, which is slow to import.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._versions = directory / "versions"

    def revisions(self) -> list[str]:
        """Return every revision, oldest first."""
        return sorted(path.stem for path in self._versions.glob("[0-9]*.py"))

    def problems(self) -> list[StartupProblem]:
        """Return the revisions that are both the newest, as after a merge of two branches.

        A newest revision is named in its own file only.
        """
        texts = [path.read_text(encoding="utf-8") for path in self._versions.glob("[0-9]*.py")]
        names = Counter(
            name for text in texts for name in set(re.findall(r"[\"']([\w-]+)[\"']", text))
        )
        newest = [name for name in self.revisions() if names[name] == 1]
        if len(newest) < 2:
            return []
        advice = (
            "renumber the one that no database has yet after the other, in its file's name and its "
            "revision, and make the other its down_revision"
        )
        reason = f"{' and '.join(newest)} are both the newest: {advice}"
        return [StartupProblem("", reason, str(self._versions))]

    def upgrade(self, connection: Connection) -> str | None:
        """Run the migrations that the database lacks, in the connection's transaction.

        Returns the database's revision if it is unknown here: the database is newer than this
        release, and stays unchanged. Raises StartupError if two revisions are the newest.
        """
        from alembic import command
        from alembic.migration import MigrationContext

        if forked := self.problems():
            raise StartupError(forked)
        known = self.revisions()
        current = MigrationContext.configure(connection).get_current_revision()
        if current not in (None, *known):
            return current
        if current not in known[-1:]:
            command.upgrade(self._config(connection), "head")
        return None

    def create_revision(self, connection: Connection, message: str) -> None:
        """Write the next revision: from the connection's tables to those of the models."""
        from alembic import command

        command.revision(self._config(connection), message, autogenerate=True)

    def _config(self, connection: Connection) -> "Config":
        from alembic.config import Config

        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(self._directory).replace("%", "%%"))
        config.set_main_option("file_template", "%%(rev)s")
        config.set_main_option("path_separator", "os")
        return config


def run_alembic(
    metadata: MetaData, migrating: Callable[[], AbstractContextManager[Connection]]
) -> None:
    """Run Alembic's present command: the body of `env.py`.

    `migrating` opens the connection for Alembic's own command line, which `[tool.alembic]` in
    pyproject.toml configures. The commands of the service pass their connection instead.
    """
    from alembic import context

    def number_revision(_context: Any, _revision: Any, scripts: Any) -> None:
        """Name the new revision after its number and message, such as `0002_add_colour`."""
        number = len(Migrations(Path(context.script.dir)).revisions()) + 1
        name = re.sub(r"[^a-z0-9]+", "_", (scripts[0].message or "").lower()).strip("_")
        scripts[0].rev_id = f"{number:04}_{name}"

    def run(connection: Connection) -> None:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=True,  # SQLite cannot alter a column: Alembic copies the table
            process_revision_directives=number_revision,
        )
        with context.begin_transaction():
            context.run_migrations()

    if connection := context.config.attributes.get("connection"):
        run(connection)
    else:
        with migrating() as connection:
            run(connection)

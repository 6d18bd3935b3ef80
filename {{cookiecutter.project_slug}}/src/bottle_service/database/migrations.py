"""Migrations with Alembic: one file in `versions/` for each revision, numbered in their order."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, MetaData, inspect, text

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

    def mismatch(self, version: Mapping[str, str | None]) -> str:
        """Return why a service of this tree cannot use a database of this version, or "".

        `version` is the row of `alembic_version`, empty without this table. A newer database is no
        mismatch.
        """
        current = version.get("version_num")
        if divergence := self.divergence(current, version.get("applied")):
            return divergence
        known = self.revisions()
        if known and (current is None or current in known[:-1]):
            return f"is at revision {current}, {known[-1]} is needed: run the command `migrate`"
        return ""

    def divergence(self, current: str | None, applied: str | None) -> str:
        """Return why the database and this directory have gone different ways, or "".

        `current` and `applied` are the columns of `alembic_version`. A database with more
        revisions than this directory is newer, which is not a divergence: an older release must
        start on it. A divergence is that each lacks a revision of the other, as after a switch of
        Git branches.
        """
        known = self.revisions()
        if current is None or not known or current in known:
            return ""
        if applied is not None:
            missing = [revision for revision in known if revision not in applied.split()]
            common = next((name for name in reversed(known) if name in applied.split()), "base")
        else:  # no migration of this database ran since `applied` exists: only numbers are left
            missing = known[-1:] if _number(known[-1]) >= _number(current) else []
            common = "-1"
        if not missing:
            return ""
        return (
            f"is at revision {current}, which this tree does not have, and lacks {missing[0]} of "
            f"this tree, as after a switch of Git branches: run the command `downgrade {common}` "
            f"in the tree that has {current}, or delete a database of development; then run the "
            "command `migrate` in this tree"
        )

    def upgrade(self, connection: Connection) -> str | None:
        """Run the migrations that the database lacks.

        Returns the database's revision if it is unknown here and the database is newer than this
        release; it stays unchanged. Raises StartupError if two revisions are the newest, or if
        the database has gone another way than this directory.
        """
        from alembic import command

        if forked := self.problems():
            raise StartupError(forked)
        known = self.revisions()
        current, applied = _read_version(connection)
        if divergence := self.divergence(current, applied):
            raise StartupError([StartupProblem("DATABASE_URL", divergence)])
        if current not in (None, *known):
            return current
        if current not in known[-1:]:
            command.upgrade(self._config(connection), "head")
        return None

    def downgrade(self, connection: Connection, revision: str) -> str | None:
        """Revert migrations down to the revision, such as `0001_notes`, `-1` or `base`.

        Returns the database's revision then. Raises StartupError if it has none to revert, and
        Alembic's CommandError if the revision is not one of its past.
        """
        from alembic import command

        current, _ = _read_version(connection)
        if current is None:
            raise StartupError([StartupProblem("DATABASE_URL", "no migration can be reverted")])
        command.downgrade(self._config(connection), revision)
        return _read_version(connection)[0]

    def create_revision(self, connection: Connection, message: str) -> None:
        """Write the next revision: from the connection's tables to those of the models.

        Prints a warning if the tables are the same.
        """
        from alembic import command

        config = self._config(connection)
        command.revision(config, message, autogenerate=True)
        if config.attributes["is_empty"]:
            reason = (
                "changes no table; Alembic compares neither CHECK constraints, such as those of an "
                "Enum, nor data: write the statements by hand, or delete the file"
            )
            print(f"{self.revisions()[-1]} {reason}", file=sys.stderr)

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

    from .autogenerate import name_new_constraint, render_item

    def run(connection: Connection) -> None:
        # A project has the module of its database only.
        database = import_module(f"{__package__}.{connection.dialect.name}_alembic")
        check_step = database.begin(connection)

        def finish_revision(_context: Any, _revision: Any, scripts: Any) -> None:
            """Name the new revision after its number and message, such as `0002_add_colour`.

            The column of `alembic_version` has 32 characters, which PostgreSQL enforces.
            """
            number = len(Migrations(Path(context.script.dir)).revisions()) + 1
            name = re.sub(r"[^a-z0-9]+", "_", (scripts[0].message or "").lower()).strip("_")
            scripts[0].rev_id = f"{number:04}_{name}"[:32].rstrip("_")
            context.config.attributes["is_empty"] = scripts[0].upgrade_ops.is_empty()
            for operations in (scripts[0].upgrade_ops, scripts[0].downgrade_ops):
                database.complete(operations, connection, metadata)

        def step_applied(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:
            """Finish one migration, upwards or downwards."""
            if ctx.as_sql:  # `--sql` prints statements, and changes nothing
                return
            applied = context.script.iterate_revisions(heads, "base")
            _record_applied(connection, [script.revision for script in applied])
            if not step.is_stamp:
                check_step(Path(step.up_revision.path))

        context.configure(
            connection=connection,
            target_metadata=metadata,
            compare_server_default=True,
            render_item=render_item,
            include_object=name_new_constraint,
            process_revision_directives=finish_revision,
            on_version_apply=step_applied,
            **database.OPTIONS,
        )
        with context.begin_transaction():
            context.run_migrations()

    if connection := context.config.attributes.get("connection"):
        run(connection)
    else:
        with migrating() as connection:
            run(connection)


def _number(revision: str) -> int:
    """Return the number at the beginning of a revision, or -1."""
    digits = re.match(r"\d+", revision)
    return int(digits[0]) if digits else -1


def _read_version(connection: Connection) -> tuple[str | None, str | None]:
    """Return the columns of `alembic_version`: the revision, and those applied if recorded."""
    if not inspect(connection).has_table("alembic_version"):
        return None, None
    row = connection.execute(text("SELECT * FROM alembic_version")).mappings().first()
    return (row["version_num"], row.get("applied")) if row else (None, None)


def _record_applied(connection: Connection, revisions: list[str]) -> None:
    """Record all applied revisions, newest first, for `Migrations.divergence`.

    Alembic stores the newest revision only, and allows more columns (`version_table_impl`).
    """
    columns = inspect(connection).get_columns("alembic_version")
    if all(column["name"] != "applied" for column in columns):
        connection.execute(text("ALTER TABLE alembic_version ADD COLUMN applied TEXT"))
    statement = text("UPDATE alembic_version SET applied = :applied")
    connection.execute(statement, {"applied": " ".join(reversed(revisions))})

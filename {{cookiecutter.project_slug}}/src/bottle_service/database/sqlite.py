"""SQLite: one transaction for each request, and one connection of the process that writes."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from ..http.problems import Problem
from ..startup import StartupError, StartupProblem
from .migrations import Migrations
from .url import DatabaseUrl

__all__ = ["Database"]

READ_METHODS = frozenset({"GET", "HEAD"})


class Database:
    """SQLite through SQLAlchemy.

    A request that may write takes the write lock when its transaction begins, and waits for the
    lock at most `busy_timeout` seconds. By default SQLite takes the lock at the first write, and
    fails immediately if another connection wrote after the first read
    (https://www.sqlite.org/isolation.html, SQLITE_BUSY_SNAPSHOT).

    Threads wait in a queue for the one connection that writes. At SQLite's lock they would poll,
    up to 0.1 s apart, and some would never get a turn (sqlite3_busy_timeout).

    `threads` is how many requests the process handles at a time.
    """

    def __init__(
        self, url: DatabaseUrl, migrations: Migrations, *, threads: int, busy_timeout: float
    ) -> None:
        parsed = make_url(url.reveal())
        self.path = Path(parsed.database or "")
        self._migrations = migrations
        self._reading = _create_engine(parsed, "DEFERRED", threads, busy_timeout)
        self._writing = _create_engine(parsed, "IMMEDIATE", 1, busy_timeout)

    @contextmanager
    def session(self, method: str) -> Iterator[Session]:
        """Return a session in a transaction: committed at the end, rolled back on an exception.

        Raises Problem 503 if the database is busy for longer than the busy timeout.
        """
        engine = self._reading if method in READ_METHODS else self._writing
        try:
            with Session(engine) as session, session.begin():
                yield session
        except (OperationalError, PoolTimeoutError) as error:
            if isinstance(error, OperationalError) and "locked" not in str(error.orig):
                raise
            raise Problem(503, "The database is busy.", headers={"Retry-After": "1"}) from error

    def ping(self) -> None:
        """Check that the database responds. Raises SQLAlchemyError."""
        with self._reading.connect() as connection:
            connection.execute(text("SELECT 1 FROM alembic_version"))

    def migrate(self) -> str | None:
        """Upgrade the tables to the newest revision, and switch on write-ahead logging.

        Returns the revision of a database that is newer than this release, and leaves it
        unchanged. Raises StartupError if the migration fails; the tables are as before then.
        """
        with _startup_errors(), self.migrating() as connection:
            return self._migrations.upgrade(connection)

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Return a connection for migrations, in a transaction.

        Raises StartupError if rows refer to missing rows after a change; nothing is changed then.
        """
        with self._writing.connect() as connection:
            connection.detach()  # foreign keys are off on this connection
            cursor = connection.connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            # To alter a table, Alembic copies it and drops the old one, which must not delete the
            # rows that refer to it. This pragma has no effect inside a transaction
            # (https://www.sqlite.org/lang_altertable.html#otheralter).
            cursor.execute("PRAGMA foreign_keys=OFF")
            before = cursor.connection.total_changes
            with connection.begin():
                yield connection
                # Each migration changes the row of alembic_version. Without one, rows that refer to
                # missing rows are older, and must not stop this release.
                if cursor.connection.total_changes > before:
                    _check_foreign_keys(connection)

    def create_revision(self, message: str) -> None:
        """Write a migration from the present tables to those of the models.

        Raises StartupError if the database is not at the newest revision.
        """
        if problems := self.problems():
            raise StartupError(problems)
        with _startup_errors(), self._reading.connect() as connection:
            self._migrations.create_revision(connection, message)

    def problems(self) -> list[StartupProblem]:
        """Return why the service cannot use this database; never create the database.

        An unknown revision is not a problem: it belongs to a newer release, whose tables a
        rollback keeps.
        """
        if forked := self._migrations.problems():
            return forked
        command = "run the command `migrate`"
        for path in (self.path.parent, self.path):
            if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
                return [_problem(f"{path} cannot be written by this user")]
        if not os.path.exists(self.path):
            return [_problem(f"there is no database at {self.path}: {command}")]
        try:
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                query = "SELECT version_num FROM alembic_version"
                current = next((row[0] for row in connection.execute(query)), None)
        except sqlite3.Error as error:
            if "no such table" not in str(error):
                return [_problem(f"cannot use {self.path}: {error}")]
            current = None
        known = self._migrations.revisions()
        if known and (current is None or current in known[:-1]):
            return [_problem(f"is at revision {current}, {known[-1]} is needed: {command}")]
        return []

    def close(self) -> None:
        self._reading.dispose()
        self._writing.dispose()


def _problem(reason: str) -> StartupProblem:
    return StartupProblem("DATABASE_URL", reason)


def _check_foreign_keys(connection: Connection) -> None:
    """Check all foreign keys once, after the migrations."""
    query = 'SELECT DISTINCT "table", parent FROM pragma_foreign_key_check'
    orphans = connection.exec_driver_sql(query).all()
    if orphans:
        reason = "rows of {} would refer to missing rows of {}"
        raise StartupError(_problem(reason.format(*pair)) for pair in orphans)


@contextmanager
def _startup_errors() -> Iterator[None]:
    """Turn exceptions of the database and of Alembic into a StartupError."""
    from alembic.util import CommandError

    try:
        yield
    except DatabaseError as error:
        raise StartupError([_problem(str(error.orig))]) from None
    except CommandError as error:
        raise StartupError([_problem(str(error))]) from None


def _create_engine(url: URL, begin: str, connections: int, busy_timeout: float) -> Engine:
    """Return an engine whose transactions start with BEGIN `begin`."""
    engine = create_engine(
        url,
        hide_parameters=True,  # clients sent them: they must not be logged
        pool_size=connections,
        max_overflow=0,
        pool_timeout=busy_timeout,
        connect_args={"timeout": busy_timeout},
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(f"BEGIN {begin}"))
    return engine


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own BEGIN comes too late and is always deferred.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    # With write-ahead logging a power cut may cost the last commits, never the file.
    connection.execute("PRAGMA synchronous=NORMAL")

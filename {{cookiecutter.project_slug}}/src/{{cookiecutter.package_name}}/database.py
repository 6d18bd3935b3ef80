"""The database: one transaction for a request, one connection of the process that writes."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from . import migrations
from .environment import BootError
from .environment import Problem as BootProblem
from .models import Base
from .settings import Settings
from .web.problems import Problem

READ_METHODS = frozenset({"GET", "HEAD"})


class Database:
    """SQLite through SQLAlchemy.

    A request that may write takes the write lock when its transaction begins and waits for it
    as long as the busy timeout. Left to itself SQLite takes it at the first write, and fails at
    once if another connection wrote since the first read
    (https://www.sqlite.org/isolation.html, SQLITE_BUSY_SNAPSHOT).

    Threads wait in line for the one connection that writes. At SQLite's lock they would only ask
    again, up to 0.1 s apart, and some would miss every turn (sqlite3_busy_timeout).
    """

    def __init__(self, settings: Settings) -> None:
        url = make_url(settings.database_url.reveal())
        self.path = Path(url.database or "")
        seconds = min(5.0, settings.request_deadline / 2)
        self._reading = _engine(url, "DEFERRED", settings.web_threads, seconds)
        self._writing = _engine(url, "IMMEDIATE", 1, seconds)

    @contextmanager
    def session(self, method: str) -> Iterator[Session]:
        """Give a session in a transaction: committed at the end, rolled back on an error.

        Raises Problem 503 when the database is still busy after the busy timeout.
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
        """Ask the database for an answer. Raises SQLAlchemyError when it gives none."""
        with self._reading.connect() as connection:
            connection.execute(text("SELECT 1 FROM alembic_version"))

    def migrate(self) -> str | None:
        """Bring the tables to the newest revision, and the file into write-ahead logging.

        Returns the revision of a database that is newer than this release, which stays as it is.
        Raises BootError when the database cannot be migrated: its tables are as they were then.
        """
        with _reported(), self._writing.connect() as connection:
            connection.detach()  # or who has it next would be without foreign keys
            cursor = connection.connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            # Alembic copies a table to alter it, and drops the old one: no row is to go with that.
            # In a transaction it would be too late to say so
            # (https://www.sqlite.org/lang_altertable.html#otheralter).
            cursor.execute("PRAGMA foreign_keys=OFF")
            with connection.begin():
                return migrations.upgrade(connection)

    def new_migration(self, message: str) -> None:
        """Write a migration for what models.py has and the tables have not.

        Raises BootError when the database is not at the newest revision.
        """
        if problems := self.problems():
            raise BootError(problems)
        with _reported(), self._reading.connect() as connection:
            migrations.revise(connection, Base.metadata, message)

    def problems(self) -> list[BootProblem]:
        """Say why the service cannot work on this database, without creating it.

        A revision that this release does not know is a newer release's: a roll-back keeps
        the tables, so it is no problem.
        """
        if forked := migrations.problems():
            return forked
        command = f"run `python -m {__package__} migrate`"
        for path in (self.path.parent, self.path):
            if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
                return [_problem(f"{path} cannot be written by this user")]
        if not os.path.exists(self.path):
            return [_problem(f"there is no database at {self.path}: {command}")]
        try:
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as db:
                query = "SELECT version_num FROM alembic_version"
                current = next((row[0] for row in db.execute(query)), None)
        except sqlite3.Error as error:
            if "no such table" not in str(error):
                return [_problem(f"cannot use {self.path}: {error}")]
            current = None
        known = migrations.revisions()
        if known and (current is None or current in known[:-1]):
            return [_problem(f"is at revision {current}, {known[-1]} is needed: {command}")]
        return []

    def close(self) -> None:
        self._reading.dispose()
        self._writing.dispose()


def _problem(text: str) -> BootProblem:
    return BootProblem("DATABASE_URL", text)


@contextmanager
def _reported() -> Iterator[None]:
    """Turn what is wrong with the database into a BootError."""
    from alembic.util import CommandError

    try:
        yield
    except DatabaseError as error:
        raise BootError([_problem(str(error.orig))]) from None
    except CommandError as error:
        raise BootError([_problem(str(error))]) from None


def _engine(url: URL, begin: str, connections: int, busy_timeout: float) -> Engine:
    """Return an engine whose transactions begin so, and wait so many seconds for a turn."""
    engine = create_engine(
        url,
        # Parameters are what clients sent: they do not belong in a log.
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=busy_timeout,
        connect_args={"timeout": busy_timeout},
    )
    event.listen(engine, "connect", _configure)
    # The driver's own BEGIN comes too late and is always deferred: see _configure.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(f"BEGIN {begin}"))
    return engine


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # or the driver begins by itself
    connection.execute("PRAGMA foreign_keys=ON")
    # With write-ahead logging a power cut may cost the last commits, never the file.
    connection.execute("PRAGMA synchronous=NORMAL")

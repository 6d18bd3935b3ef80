"""SQLite: one transaction for each request, and one connection of the process that writes."""

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from ..backups import BackupError, check_revision, sync
from ..http.problems import Conflict
from ..startup import StartupError, StartupProblem
from .errors import (
    changed_meanwhile,
    explain_missing_part,
    handle_unstorable_value,
    missing_reference,
    unavailable,
    unstorable,
)
from .migrations import Migrations
from .url import DatabaseUrl

__all__ = ["Database"]

READ_METHODS = frozenset({"GET", "HEAD"})
# Below this the service is not ready, because a write soon fails.
MIN_FREE_BYTES = 1024 * 1024


class Database:
    """SQLite through SQLAlchemy.

    A request that may write takes the write lock at its first statement, also at a SELECT, and
    waits for the lock at most `busy_timeout` seconds. By default SQLite takes the lock at the first
    write, and fails immediately if another connection wrote after the first read
    (https://www.sqlite.org/isolation.html, SQLITE_BUSY_SNAPSHOT).

    The lock is held until the end of the request or `session.commit()`. A handler that calls
    another service calls it before its first statement or after a `commit`, because all other
    writing requests wait for the lock meanwhile.

    Threads wait in a queue for the one connection that writes. At SQLite's lock they would poll,
    up to 0.1 s apart, and some would never get a turn (sqlite3_busy_timeout).

    `threads` is how many requests the process handles at a time.
    """

    backup_suffix = ".sqlite3"
    after_restore = "stop the service, replace its database by this file, and start the service"

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
        """Return a session: committed at the end, rolled back on an exception.

        After `session.commit()` in a handler, the next statement begins a new transaction. After
        the end, any use of the session raises InvalidRequestError.

        Raises Problem: 503 if the database is busy for longer than the busy timeout, or if its disk
        is full; 409 if a unique value exists already, or a reference would refer to nothing; 412 if
        the version of a row has changed since it was read; 422 for a value that its column cannot
        store.
        """
        engine = self._reading if method in READ_METHODS else self._writing
        try:
            # A stream that uses the session after its end would otherwise keep a connection.
            with Session(engine, close_resets_only=False) as session:
                yield session
                session.commit()
        except PoolTimeoutError:
            raise unavailable("The database is busy.", 1) from None
        except OperationalError as error:
            # The low byte is the primary code (https://www.sqlite.org/rescode.html).
            code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
            # A cause would be logged with its traceback: these are expected, and need one line.
            if code == sqlite3.SQLITE_BUSY:
                raise unavailable("The database is busy.", 1) from None
            # A new connection needs room for its `-shm` file, and fails with SQLITE_IOERR_SHMSIZE.
            if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and self._is_full()):
                raise unavailable("The database's disk is full.", 60) from None
            # The code of these is that of all mistakes in SQL.
            if re.match(r"no such (table|column)|table \S+ has no column", str(error.orig)):
                explain_missing_part(error)
            raise
        except DataError as error:  # a text is too long
            raise unstorable(type(error.orig).__name__) from None
        except StaleDataError:
            raise changed_meanwhile() from None
        except IntegrityError as error:
            code = getattr(error.orig, "sqlite_errorcode", 0)
            if code in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY):
                # UNIQUE constraint failed: notes.title, notes.body
                raise Conflict(re.findall(r"\w+\.(\w+)", str(error.orig))) from None
            if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
                raise missing_reference() from None
            raise

    def pause(self, session: Session) -> bool:
        """Prepare a session for a person who types, and return whether changes are not committed.

        A read transaction is replaced by a new one, so that a later write neither fails because of
        an old snapshot nor delays checkpoints of the write-ahead log. A transaction that has
        written rows keeps the write lock. From the first call on, the session flushes only in
        `commit` and `flush`, so that no query takes the lock.
        """
        if session.autoflush:
            session.autoflush = False
            event.listen(session, "after_begin", _note_changes)
        if session.in_transaction() and session.is_active:
            driver = _driver(session.connection())
            if driver.total_changes > session.info["changes_before"]:
                return True
            driver.execute("ROLLBACK")  # SQLAlchemy's transaction goes on in the new one
            driver.execute("BEGIN DEFERRED")
        return bool(session.new or session.dirty or session.deleted)

    def ping(self) -> None:
        """Check that the database responds and can grow. Raises SQLAlchemyError or OSError."""
        with self._reading.connect() as connection:
            connection.execute(text("SELECT 1 FROM alembic_version"))
        if self._is_full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path.parent))

    def _is_full(self) -> bool:
        return shutil.disk_usage(self.path.parent).free < MIN_FREE_BYTES

    def migrate(self) -> str | None:
        """Upgrade the tables to the newest revision, and switch on write-ahead logging.

        Returns the revision of a database that is newer than this release, and leaves it
        unchanged. Raises StartupError if the migration fails; the tables are as before then.
        """
        with _startup_errors(), self.migrating() as connection:
            return self._migrations.upgrade(connection)

    def downgrade(self, revision: str) -> str | None:
        """Revert migrations down to the revision: `0001_notes`, `-1` or `base`.

        Returns the database's revision then. Raises StartupError if a migration cannot be reverted;
        the tables are as before then.
        """
        if not self.path.exists():
            raise StartupError([_problem(f"there is no database at {self.path}")])
        with _startup_errors(), self.migrating() as connection:
            return self._migrations.downgrade(connection, revision)

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

        An unknown revision is not a problem if the database has all revisions of this release: a
        newer release has migrated it, and a rollback keeps the tables.
        """
        if forked := self._migrations.problems():
            return forked
        for path in (self.path.parent, self.path):
            if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
                return [_problem(f"{path} cannot be written by this user")]
        if not os.path.exists(self.path):
            return [_problem(f"there is no database at {self.path}: run the command `migrate`")]
        try:
            version = _read_version(self.path, "mode=ro")
        except sqlite3.Error as error:
            return [_problem(f"cannot use {self.path}: {error}")]
        mismatch = self._migrations.mismatch(version)
        return [_problem(mismatch)] if mismatch else []

    def warnings(self) -> list[StartupProblem]:
        """Return nothing: a file that the service cannot use is one of the problems."""
        return []

    def needs_migration(self) -> bool:
        """Return whether `migrate` would change tables that exist."""
        try:
            version = _read_version(self.path, "mode=ro") if self.path.exists() else {}
        except sqlite3.Error:
            return False  # `migrate` reports it
        return version.get("version_num") in self._migrations.revisions()[:-1]

    def backup(self, file: Path) -> str:
        """Write a copy of the database to an empty file, and return the copy's revision.

        Requests read and write meanwhile. The copy has the state of one moment, because it is made
        in one step; a copy in several steps starts again whenever another connection writes
        (https://www.sqlite.org/c3ref/backup_finish.html). A migration is one transaction, so the
        copy has the tables from before or after it.

        Raises BackupError if the file cannot be written, or if the copy is damaged.
        """
        if not self.path.exists():
            raise BackupError(f"there is no database at {self.path}; run the command `migrate`")
        try:
            with (
                closing(sqlite3.connect(_uri(self.path, "mode=rw"), uri=True)) as source,
                closing(sqlite3.connect(file)) as copy,
            ):
                # A failed copy is removed, and a complete one is written to the disk in the end.
                copy.execute("PRAGMA journal_mode=OFF")
                copy.execute("PRAGMA synchronous=OFF")
                source.backup(copy)
        except sqlite3.Error as error:
            free = shutil.disk_usage(file.parent).free
            reason = (
                f"{error}; {free} bytes are free there, and the database has {_size(self.path)}"
            )
            raise BackupError(f"cannot copy {self.path} to {file.parent}: {reason}") from None
        return _check_backup(file)

    def restore(self, backup: Path, target: str) -> str:
        """Write a backup to the new file `target`, and return its revision.

        Raises BackupError if the file is not a backup of this service, is damaged, or has a
        revision that this release does not know; and if the target exists or cannot be written.
        """
        if not backup.is_file():
            raise BackupError(f"there is no file {backup}")
        if Path(f"{backup}-wal").exists():
            reason = (
                "is a database in use, of which this would copy a part; run the command `backup`"
            )
            raise BackupError(f"{backup} {reason}")
        revision = _check_backup(backup)
        check_revision(backup, revision, self._migrations.revisions())
        for suffix in ("", "-wal", "-shm", "-journal"):
            if os.path.lexists(f"{target}{suffix}"):
                raise BackupError(f"{target}{suffix} exists; write to a new file, or move it away")
        part = Path(f"{target}.part")
        try:
            file = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
            try:
                with os.fdopen(file, "wb") as copy, backup.open("rb") as source:
                    shutil.copyfileobj(source, copy)
                _check_backup(part)
                sync(part)
                part.rename(target)
                sync(part.parent)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise BackupError(
                f"cannot write {error.filename or target}: {error.strerror}"
            ) from None
        return revision

    def close(self) -> None:
        self._reading.dispose()
        self._writing.dispose()


def _problem(reason: str) -> StartupProblem:
    return StartupProblem("DATABASE_URL", reason)


def _uri(path: Path, options: str) -> str:
    return f"{path.absolute().as_uri()}?{options}"


def _read_version(path: Path, options: str) -> dict[str, Any]:
    """Return the row of `alembic_version`; empty if there is none. Raises sqlite3.Error."""
    with closing(sqlite3.connect(_uri(path, options), uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        try:
            row = connection.execute("SELECT * FROM alembic_version").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            row = None
    return dict(row or {})


def _size(path: Path) -> int:
    """Return the bytes of a database, with its write-ahead log."""
    files = (path, Path(f"{path}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _check_backup(file: Path) -> str:
    """Return the revision of a backup. Raises BackupError if it is damaged or is none."""
    options = "mode=ro&immutable=1"  # without files beside it
    try:
        with closing(sqlite3.connect(_uri(file, options), uri=True)) as connection:
            (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        revision = _read_version(file, options).get("version_num")
    except sqlite3.Error as error:
        raise BackupError(f"{file} is not a backup, or is damaged: {error}") from None
    if result != "ok":
        raise BackupError(f"{file} is damaged: {result}")
    if revision is None:
        raise BackupError(f"{file} has no revision in a table alembic_version")
    return str(revision)


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
        reason = str(error.orig)
        if "Cannot add a NOT NULL column" in reason:  # only if the table has rows
            reason += (
                "; give it a `server_default` in models.py, or let it be None, then remove the "
                "migration and write it again"
            )
        raise StartupError([_problem(reason)]) from None
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
    event.listen(engine, "handle_error", handle_unstorable_value)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(f"BEGIN {begin}"))
    return engine


def _note_changes(session: Session, _transaction: Any, connection: Connection) -> None:
    session.info["changes_before"] = _driver(connection).total_changes


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own BEGIN comes too late and is always deferred.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    # With write-ahead logging a power cut may cost the last commits, never the file.
    connection.execute("PRAGMA synchronous=NORMAL")

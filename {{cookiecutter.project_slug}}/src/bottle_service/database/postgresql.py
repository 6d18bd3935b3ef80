"""PostgreSQL: one transaction for each request, and migrations under a lock."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.errors import (
    DeadlockDetected,
    InvalidParameterValue,
    LockNotAvailable,
    QueryCanceled,
    ReadOnlySqlTransaction,
    SerializationFailure,
    UndefinedColumn,
    UndefinedObject,
    UndefinedTable,
)
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from ..backups import BackupError, check_revision
from ..http.problems import Conflict, Problem
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
from .postgresql_url import DatabaseUrl

__all__ = ["MIGRATION_LOCK", "Database"]

READ_METHODS = frozenset({"GET", "HEAD"})
# The advisory lock of migrations; a backup takes it, too. Advisory locks belong to one database.
MIGRATION_LOCK = 0x626F74746C65
HOLDERS_OF_MIGRATION_LOCK = f"locktype = 'advisory' AND objid = {MIGRATION_LOCK & 0xFFFFFFFF}"
HOLDERS_OF_TABLES = "locktype = 'relation' AND xact_start IS NOT NULL"
ANY_RELATION = (
    "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY relname LIMIT 1"
)
# What helps if a connection fails, by a part of the message of libpq or of the server.
ADVICE = {
    r'(role|database) ".*" does not exist': (
        "create it: docs/how-to/postgresql.md, or on a host deploy/README.md"
    ),
    "Peer authentication failed": "the role in the URL must be the user of the process",
    "certificate verify failed": (
        "`sslrootcert` must be the certificate of the authority that has signed the server's"
    ),
    "root certificate file .* does not exist": (
        "add `sslrootcert=FILE` to the URL, the certificate of the server's authority"
    ),
    "no error details available|failed to resolve host": (
        "in the sandbox of systemd, allow connections by `deploy/install.sh --outbound`"
    ),
    "No such file or directory|Connection refused": (
        "start PostgreSQL, or correct DATABASE_URL: docs/how-to/postgresql.md"
    ),
    "unsupported startup parameter": (
        "add `options=` to the URL: docs/how-to/postgresql.md, Behind PgBouncer"
    ),
}
BUSY = (QueryCanceled, LockNotAvailable, SerializationFailure, DeadlockDetected)


class Database:
    """PostgreSQL 14 or later through SQLAlchemy and psycopg.

    A request holds at most one connection, and the pool has one for each thread, so threads do not
    wait for a connection. GET and HEAD run in a read-only transaction.

    `name` is the service's, as `application_name` in `pg_stat_activity`. `threads` is how many
    requests the process handles at a time. The timeouts of a request are parts of `deadline`
    seconds, each shorter than the next, so that the error names the cause: for a lock 1/5, for a
    statement 9/20, for an idle transaction all of it.

    An option `options` in the URL replaces the settings of the session. `options=` sets none, as
    PgBouncer requires (docs/how-to/postgresql.md).
    """

    # How long `migrate` waits for another one, and for locks on tables, in seconds.
    migration_timeout = 600.0
    table_lock_timeout = 60.0
    # How long `backup` waits for a lock on a table, in seconds: all requests for the table that need
    # a stronger lock wait behind it.
    backup_lock_timeout = 10.0
    backup_suffix = ".dump"
    after_restore = "set DATABASE_URL to this database, and restart the service"

    def __init__(
        self, url: DatabaseUrl, migrations: Migrations, *, name: str, threads: int, deadline: float
    ) -> None:
        self._url = url
        self._name = name
        self._migrations = migrations
        settings = {
            "timezone": "UTC",
            "lock_timeout": f"{deadline * 200:.0f}",  # milliseconds
            "statement_timeout": f"{deadline * 450:.0f}",
            "idle_in_transaction_session_timeout": f"{deadline * 1000:.0f}",
        }
        self._engine = self._create_engine(
            settings,
            pool_size=threads,
            max_overflow=0,
            pool_timeout=deadline / 4,
            pool_pre_ping=True,  # replaces connections that a restart of the server has closed
        )
        self._reading = self._engine.execution_options(postgresql_readonly=True)

    def _create_engine(self, settings: dict[str, str], **options: Any) -> Engine:
        url = make_url(self._url.reveal()).set(drivername="postgresql+psycopg")
        query = parse_qs(self._url.reveal().partition("?")[2], keep_blank_values=True)
        arguments: dict[str, Any] = {
            "application_name": self._name,
            "connect_timeout": 3,  # seconds for each host; the default is that of TCP, 130
            # A hung host or a dropped connection ends a call after some seconds, not after hours.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            "tcp_user_timeout": 5000,  # milliseconds
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        }
        own_session = "options" not in query
        arguments = {name: value for name, value in arguments.items() if name not in query}
        # The server's plan of a prepared statement fails after a migration that changes a type, and
        # PgBouncer below 1.21 shares connections but not prepared statements.
        arguments["prepare_threshold"] = None
        # Clients sent the parameters: they must not be logged.
        engine = create_engine(url, hide_parameters=True, connect_args=arguments, **options)
        event.listen(engine, "handle_error", _handle_error)
        event.listen(engine, "handle_error", handle_unstorable_value)
        if own_session:
            event.listen(engine, "connect", _end_queries_of_killed_workers)
        return engine

    @contextmanager
    def session(self, method: str) -> Iterator[Session]:
        """Return a session: committed at the end, rolled back on an exception.

        After `session.commit()` in a handler, the next statement begins a new transaction. After
        the end, any use of the session raises InvalidRequestError.

        Raises Problem: 503 if the database is away or busy; 409 if a unique value or a foreign key
        conflicts; 412 if the version of a row has changed since it was read; 422 for a value that
        its column cannot store. If the connection is lost during the commit, the client gets 503
        although the data may have been written.
        """
        engine = self._reading if method in READ_METHODS else self._engine
        # A stream that uses the session after its end would otherwise keep a connection.
        with _problems(), Session(engine, close_resets_only=False) as session:
            yield session
            session.commit()

    def pause(self, session: Session) -> bool:
        """Prepare a session for a person who types, and return whether changes are not committed.

        A transaction that has only read ends, so that it neither holds locks nor reaches the limit of
        an idle one; a transaction that has written may be idle. From the first call on, the session
        flushes only in `commit` and `flush`.
        """
        session.autoflush = False
        if session.in_transaction() and session.is_active:
            connection = session.connection()
            if connection.scalar(text("SELECT pg_current_xact_id_if_assigned()::text")):
                connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                return True
            connection.connection.rollback()  # SQLAlchemy's transaction goes on in the next one
        return bool(session.new or session.dirty or session.deleted)

    def ping(self) -> None:
        """Check that the database responds. Raises SQLAlchemyError or Problem."""
        with _problems(), self._reading.connect() as connection:
            connection.execute(text("SELECT 1 FROM alembic_version"))

    def migrate(self) -> str | None:
        """Upgrade the tables to the newest revision, each migration in its own transaction.

        Returns the revision of a database that is newer than this release, and leaves it
        unchanged. Raises StartupError if a migration fails; those before it stay applied.
        """
        return self._migrate(self._migrations.upgrade)

    def downgrade(self, revision: str) -> str | None:
        """Revert migrations down to the revision: `0001_notes`, `-1` or `base`.

        Returns the database's revision then. Raises StartupError if a migration cannot be reverted.
        """
        return self._migrate(lambda connection: self._migrations.downgrade(connection, revision))

    def _migrate(self, run: Callable[[Connection], str | None]) -> str | None:
        """Run migrations; repeat a migration that waits for a lock on a table.

        A migration that waits for a lock stops all other requests for this table, which queue
        behind it. So it waits for 0.1 s only, and tries again.
        """
        deadline = time.monotonic() + self.table_lock_timeout
        with _startup_errors(), self.migrating() as connection:
            while True:
                try:
                    return run(connection)
                except OperationalError as error:
                    if not isinstance(error.orig, LockNotAvailable):
                        raise
                    connection.rollback()
                    if time.monotonic() > deadline:
                        raise _waited(
                            connection, HOLDERS_OF_TABLES, self.table_lock_timeout
                        ) from None
                    time.sleep(0.3)

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Return a connection for migrations, without a transaction, under the lock of migrations.

        Raises StartupError if another process holds the lock for too long.
        """
        # A migration may take long. The limits for locks are set for each transaction, because a
        # concurrent build of an index, which waits for all older transactions, blocks nobody.
        settings = {"timezone": "UTC", "lock_timeout": "0", "statement_timeout": "0"}
        engine = self._create_engine(settings, poolclass=NullPool)
        event.listen(engine, "begin", _limit_wait_for_locks)
        # A session that waits in `pg_advisory_lock` is in a transaction, which a concurrent build of
        # an index waits for: both would wait for each other. So the lock is polled.
        options = {"isolation_level": "AUTOCOMMIT"}
        with engine.connect().execution_options(**options) as guard, engine.connect() as connection:
            deadline = time.monotonic() + self.migration_timeout
            lock = text("SELECT pg_try_advisory_lock(:key)")
            while not guard.scalar(lock, {"key": MIGRATION_LOCK}):
                if time.monotonic() > deadline:
                    raise _waited(guard, HOLDERS_OF_MIGRATION_LOCK, self.migration_timeout)
                time.sleep(0.1)
            yield connection
            connection.commit()

    def create_revision(self, message: str) -> None:
        """Write a migration from the present tables to those of the models.

        Raises StartupError if the database is not at the newest revision, or does not respond.
        """
        if problems := [*self.problems(), *self.warnings()]:
            raise StartupError(problems)
        with _startup_errors(), self._engine.connect() as connection:
            self._migrations.create_revision(connection, message)

    def problems(self) -> list[StartupProblem]:
        """Return why the service cannot use this database.

        A database that does not respond is not a problem: the service starts, is not ready, and
        recovers without a restart. Neither is an unknown revision if the database has all revisions
        of this release: a newer release has migrated it, and a rollback keeps the tables.
        """
        if forked := self._migrations.problems():
            return forked
        try:
            version = self._read_version()
        except OperationalError:
            return []
        except SQLAlchemyError as error:
            return [_startup_problem(f"cannot be used: {_reason(error)}")]
        mismatch = self._migrations.mismatch(version)
        return [_startup_problem(mismatch)] if mismatch else []

    def warnings(self) -> list[StartupProblem]:
        """Return why the service would not be ready yet: the database does not respond."""
        try:
            self._read_version()
        except OperationalError as error:
            reason = f"does not respond, so the service will not be ready: {_reason(error)}"
            return [_startup_problem(reason)]
        except SQLAlchemyError:
            pass
        return []

    def _read_version(self) -> dict[str, Any]:
        with self._reading.connect() as connection:
            try:
                row = connection.execute(text("SELECT * FROM alembic_version")).mappings().first()
            except DBAPIError as error:
                if isinstance(error.orig, UndefinedTable):
                    return {}
                raise
        return dict(row or {})

    def needs_migration(self) -> bool:
        """Return whether `migrate` would change tables that exist."""
        try:
            version = self._read_version()
        except SQLAlchemyError:
            return False  # `migrate` reports it
        return version.get("version_num") in self._migrations.revisions()[:-1]

    def backup(self, file: Path) -> str:
        """Write the database to an empty file with `pg_dump`, and return the revision.

        It holds the lock of migrations: `pg_dump` reads a table that a migration rewrites or
        truncates in between as empty, and reports success.

        Raises BackupError if a migration runs for too long, if `pg_dump` fails, or if `pg_restore`
        cannot read the file.
        """
        wait = f"--lock-wait-timeout={self.backup_lock_timeout * 1000:.0f}"
        url = make_url(self._url.reveal())
        try:
            with self.migrating():
                _run_program(url, "pg_dump", "--format=custom", wait, f"--file={file}")
        except StartupError as error:
            raise BackupError(str(error)) from None
        except DBAPIError as error:
            raise BackupError(f"cannot connect to the database: {_reason(error)}") from None
        return _check_backup(file)

    def restore(self, backup: Path, target: str) -> str:
        """Write a backup to `target`, an empty database of the same server; return its revision.

        Raises BackupError if the file is not a backup of this service, is damaged, or has a
        revision that this release does not know; and if the target is missing or not empty.
        Nothing is changed then.
        """
        revision = _check_backup(backup)
        check_revision(backup, revision, self._migrations.revisions())
        url = make_url(self._url.reveal()).set(database=target)
        try:
            with psycopg.connect(**_connection_options(url), connect_timeout=3) as connection:
                found = connection.execute(ANY_RELATION).fetchone()
        except psycopg.Error as error:
            reason = str(error).partition("\n")[0]
            advice = "create it with `createdb`, as the owner the role of the service"
            raise BackupError(f"cannot use the database {target}: {reason}; {advice}") from None
        if found:
            raise BackupError(f"the database {target} is not empty: it has {found[0]}")
        options = ("--exit-on-error", "--single-transaction", "--no-owner")
        _run_program(url, "pg_restore", *options, str(backup))
        return revision

    def close(self) -> None:
        """Close all connections: a process that is forked from this one must not share them."""
        self._engine.dispose()


def _connection_options(url: URL) -> dict[str, Any]:
    """Return the options of libpq in the URL."""
    dialect: Any = PGDialect_psycopg
    options: dict[str, Any] = dialect().create_connect_args(url)[1]
    return options


def _run_program(url: URL | None, name: str, *arguments: str) -> str:
    """Return the output of a program of PostgreSQL that connects to the URL, if there is one.

    The command line, which all users of the host can read, has no password. Raises BackupError if
    the program is missing or fails.
    """
    environ = dict(os.environ)
    command = [name]
    if url is not None:
        options = _connection_options(url)
        if password := options.pop("password", None):
            environ["PGPASSWORD"] = password
        command += [f"--dbname={make_conninfo(**options)}", "--no-password"]
    try:
        done = subprocess.run(
            [*command, *arguments], env=environ, check=False, capture_output=True, text=True
        )
    except FileNotFoundError:
        advice = "install the package postgresql-client, of the server's version or a newer one"
        raise BackupError(f"the program {name} is missing; {advice}") from None
    if done.returncode:
        raise BackupError("; ".join(done.stderr.splitlines()) or f"{name}: {done.returncode}")
    return done.stdout


def _check_backup(file: Path) -> str:
    """Return the revision of a backup. Raises BackupError if it is damaged or is none."""
    try:
        _run_program(None, "pg_restore", f"--file={os.devnull}", str(file))  # reads all of it
        rows = _run_program(
            None, "pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(file)
        )
    except BackupError as error:
        raise BackupError(f"{file} cannot be read: {error}") from None
    found = re.search(r"^COPY \S+ \(version_num\b.*\n([^\t\n]+)", rows, re.MULTILINE)
    if found is None or found[1] == "\\.":
        raise BackupError(f"{file} has no revision in a table alembic_version")
    return found[1]


def _startup_problem(reason: str) -> StartupProblem:
    return StartupProblem("DATABASE_URL", reason)


def _waited(connection: Connection, holders: str, seconds: float) -> StartupError:
    """Return an error that names the sessions with these locks, those of long transactions first."""
    query = f"""
        SELECT DISTINCT pid, application_name, usename, state, xact_start
        FROM pg_stat_activity JOIN pg_locks USING (pid)
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND granted AND {holders}
        ORDER BY xact_start LIMIT 3
    """  # noqa: S608
    sessions = [
        f"process {row.pid} of {row.usename} ({row.application_name}, {row.state})"
        for row in connection.execute(text(query))
    ]
    return StartupError([
        _startup_problem(
            f"waited {seconds:g} s for a lock of {' and '.join(sessions) or 'unknown processes'}; run "
            "the command again, or end a process with `SELECT pg_terminate_backend(PROCESS)`"
        )
    ])  # fmt: skip


def _limit_wait_for_locks(connection: Connection) -> None:
    """Limit the waits in a transaction.

    Outside of one, a concurrent build of an index waits for older transactions and blocks nobody.
    """
    driver: Any = connection.connection.dbapi_connection
    if not driver.autocommit:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")


@contextmanager
def _problems() -> Iterator[None]:
    """Turn expected errors into a Problem.

    Their cause would be logged with a traceback, so it is not kept: they need one line.
    """
    try:
        yield
    except StaleDataError:
        raise changed_meanwhile() from None
    except PoolTimeoutError:
        raise unavailable("The database is busy.", 1, "(pool timeout)") from None
    except DBAPIError as error:
        if problem := _problem(error):
            raise problem from None
        if isinstance(error.orig, (UndefinedTable, UndefinedColumn)):
            explain_missing_part(error)
        raise


def _problem(error: DBAPIError) -> Problem | None:
    """Return the response to an expected error, or None for a mistake of the service.

    https://www.postgresql.org/docs/current/errcodes-appendix.html
    """
    state = getattr(error.orig, "sqlstate", None)
    name = " ".join(filter(None, [type(error.orig).__name__, state]))
    cause = f"({name})"
    if isinstance(error, IntegrityError):
        if state in ("23505", "23P01"):  # unique_violation, exclusion_violation
            return Conflict(_columns(error.orig))
        if state == "23503":  # foreign_key_violation
            return missing_reference()
        return None
    if isinstance(error, DataError):
        return unstorable(name)
    if isinstance(error.orig, BUSY):
        return unavailable("The database is busy.", 1, cause)
    if isinstance(error, OperationalError) or error.connection_invalidated:
        if state is None:  # the driver's own message: no connection, or a lost one
            cause = f"({type(error.orig).__name__}: {_reason(error)})"
        return unavailable("The database is not available.", 1, cause)
    return None


def _columns(error: Any) -> list[str]:
    """Return the columns of a violated constraint, without the values.

    The detail is, in the server's language, `Key (title, lower(name))=(…) already exists.`
    """
    detail = error.diag.message_detail or ""
    found = re.search(r"\((.*?)\)=\(", detail)
    columns = re.sub(r"\w+\((\w+)(?:::\w+)?\)?", r"\1", found[1]) if found else ""
    return columns.split(", ") if re.fullmatch(r"\w+(, \w+)*", columns) else []


def _handle_error(context: Any) -> None:
    """Remove values from exceptions of the server, and replace connections to a standby."""
    error = context.original_exception
    if isinstance(error, psycopg.Error):
        _remove_values(error, context.sqlalchemy_exception)
    if isinstance(error, ReadOnlySqlTransaction) and context.connection is not None:
        # After a failover the connections lead to a standby, where they would work for reads only.
        # In a GET the exception is a mistake of the handler.
        options = context.connection.get_execution_options()
        context.is_disconnect = not options.get("postgresql_readonly")


def _remove_values(error: psycopg.Error, wrapper: StatementError | None) -> None:
    """Keep the message and hint of the server in both exceptions, which may be logged.

    The server's DETAIL and CONTEXT quote values, up to the whole row. `error.diag` still has them.
    https://www.postgresql.org/docs/current/protocol-error-fields.html
    """
    if not error.diag.message_primary:  # the driver's own message
        return
    before, kept = str(error), error.diag.message_primary
    if error.diag.message_hint:
        kept += f"\nHINT:  {error.diag.message_hint}"
    error.args = (kept,)
    if wrapper is not None:
        wrapper.args = tuple(text.replace(before, kept) for text in wrapper.args)


def _end_queries_of_killed_workers(connection: psycopg.Connection[Any], _record: Any) -> None:
    """Let the server end a query whose client is gone, where it can (Linux; macOS from 16 on)."""
    try:
        connection.execute("SET client_connection_check_interval = 1000")
        connection.commit()
    except (InvalidParameterValue, UndefinedObject):
        connection.rollback()


def _reason(error: SQLAlchemyError) -> str:
    """Return the first line of the driver's message, which contains no password, and what helps."""
    reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
    advice = (text for pattern, text in ADVICE.items() if re.search(pattern, reason))
    return "; ".join([reason, *advice])


@contextmanager
def _startup_errors() -> Iterator[None]:
    """Turn exceptions of the database and of Alembic into a StartupError."""
    from alembic.util import CommandError

    try:
        yield
    except DBAPIError as error:
        reason = _reason(error)
        if getattr(error.orig, "sqlstate", "") == "23502" and "contains null" in reason:
            reason += (
                "; give it a `server_default` in models.py, or let it be None, then remove the "
                "migration and write it again"
            )
        raise StartupError([_startup_problem(reason)]) from None
    except CommandError as error:
        raise StartupError([_startup_problem(str(error))]) from None

"""PostgreSQL for the tests: the server of TEST_DATABASE_URL, or a temporary one."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

# Only for tests: a crash of the host would lose data.
FAST = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off"]


class TemporaryDatabase:
    """A database that tests may fill and empty. `server` is the URL of a database next to it."""

    def __init__(self, server: str, url: str, connection: psycopg.Connection) -> None:
        self.server = server
        self.url = url
        self._connection = connection

    def empty(self) -> None:
        """Delete all rows, and begin with the ID 1 again."""
        self._connection.execute("SET lock_timeout = '5s'")  # another test has left a transaction
        tables = self._connection.execute("""
            SELECT string_agg(format('%I', tablename), ', ') FROM pg_tables
            WHERE schemaname = 'public' AND tablename <> 'alembic_version'
        """).fetchone()
        if tables and tables[0]:
            self._connection.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY CASCADE".encode())


@contextmanager
def temporary_database(server: str) -> Iterator[TemporaryDatabase]:
    """Create an empty database, and drop it at the end."""
    name = f"test_{secrets.token_hex(6)}"
    url = re.sub(r"(://[^/]*/)[^?]*", rf"\g<1>{name}", server)
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'".encode())
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                yield TemporaryDatabase(server, url, connection)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def running_server() -> Iterator[str]:
    """Return TEST_DATABASE_URL, or start a server on a unix socket in a temporary directory."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    programs = _find_programs()
    # PostgreSQL refuses to run as root, and its user may not read root's own directories.
    is_root = os.getuid() == 0
    user: Any = {"user": "postgres", "group": "postgres", "extra_groups": []} if is_root else {}
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp" if is_root else None) as here:  # noqa: S108
        if is_root:
            shutil.chown(here, "postgres", "postgres")
        data, log = f"{here}/data", Path(here, "log")
        initdb = ["initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"]
        with log.open("wb") as output:
            subprocess.run(
                [programs / initdb[0], *initdb[1:], "--locale=C"],
                check=True, cwd=here, stdout=output, stderr=output, **user,
            )  # fmt: skip
            options = [f"-c{option}" for option in ["listen_addresses=", *FAST]]
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", here, *options],
                cwd=here, stdout=output, stderr=output, **user,
            )  # fmt: skip
        try:
            url = f"postgresql://postgres@/postgres?host={here}"
            _wait_until_ready(url, server, log)
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # an immediate stop
            server.wait(20)


def _find_programs() -> Path:
    """Return the directory with `initdb` and `postgres`, which Debian does not put into PATH."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = shutil.which("initdb") or max(debian, key=lambda path: int(path.parts[4]), default=None)
    if not found:
        raise pytest.UsageError(
            "the tests need PostgreSQL: install the package postgresql (the tests start a server of "
            "their own), or set TEST_DATABASE_URL to the URL of a role that may create databases"
        )
    return Path(found).resolve().parent


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")

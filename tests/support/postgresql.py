"""PostgreSQL for the tests: a server of their own, on a unix socket in a temporary directory."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

# Debian's programs are not in PATH; the newest release comes last.
_DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[4]))
PROGRAMS = _DEBIAN[-1] if _DEBIAN else Path(shutil.which("initdb") or "/missing/initdb").parent
INSTALLED = (PROGRAMS / "initdb").exists()
# Without these a test of a crash may lose data that the server has acknowledged.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


class Cluster:
    """A cluster in a directory. As root, its processes run as the user postgres."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self._data = directory / "data"
        self._log = directory / "log"
        self._options = [f"-c{option}" for option in ("listen_addresses=", *options)]
        self._server: subprocess.Popen[bytes] | None = None
        self._user: Any = {"cwd": directory}
        if os.getuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
            self._user |= {"user": "postgres", "group": "postgres", "extra_groups": []}

    def create(self, primary: "Cluster | None" = None) -> None:
        """Create the files: those of an empty cluster, or of a standby of another one."""
        if primary:
            source = ["-h", str(primary.directory), "-U", "postgres", "-c", "fast"]
            self.run("pg_basebackup", "-D", str(self._data), "-R", *source)
            return
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        self.run("initdb", "-D", str(self._data), "--wal-segsize=1", *options)

    def start_program(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start another program as the cluster's user."""
        return subprocess.Popen(command, **self._user)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the cluster's user."""
        command = [str(PROGRAMS / program), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, **self._user)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start the server, and return as soon as it accepts connections."""
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                [PROGRAMS / "postgres", "-D", self._data, "-k", self.directory, *self._options],
                stdout=log,
                stderr=log,
                **self._user,
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._server.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url("postgres")).close()
                return
            time.sleep(0.02)
        raise AssertionError(self.log())

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop the server: SIGINT is a fast stop, SIGQUIT an immediate one without a checkpoint."""
        if self._server:
            self._server.send_signal(number)
            self._server.wait(30)
            self._server = None

    def promote(self) -> None:
        """Make a standby the primary."""
        self.execute("SELECT pg_promote()")

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={self.directory}"

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Return the rows of a statement, which is committed."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create_database(self, template: str = "template0") -> str:
        """Create an empty database, or a copy of another one, and return its name."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def terminate(self, application: str) -> int:
        """End the connections of this application; return their number."""
        statement = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE "
        return int(self.execute(f"{statement} application_name = '{application}'")[0][0])


@contextlib.contextmanager
def running_cluster(*options: str, primary: Cluster | None = None) -> Iterator[Cluster]:
    """Start a new cluster, or a standby of another one, and stop it at the end."""
    # The user postgres may not enter the tests' directory, which is root's.
    parent = "/tmp" if os.getuid() == 0 else None  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="pg", dir=parent) as directory:
        cluster = Cluster(Path(directory), *options)
        cluster.create(primary)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop(signal.SIGQUIT)

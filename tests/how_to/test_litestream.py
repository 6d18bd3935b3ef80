"""docs/how-to/litestream.md: its commands, while a service with two workers writes."""

import http.client
import json
import os
import re
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ..support.fixtures import Generate, Needs
from ..support.markdown import blocks
from ..support.process import free_port, run, terminate, wait_until_ready
from .steps import DIRECTORY, check, follow
from .units import check_unit

RESTORED = "restored.sqlite3"
MOMENT = "moment=2026-11-30T09:59:00Z\n"
OF_SYSTEMD = re.compile(r"(?m)^systemctl (\w+) (.*)\n")
CLIENTS = 3


def test_notes_are_restored(copied: Generate, needs: Needs, tmp_path: Path) -> None:
    needs("systemd-analyze")
    project = copied()
    follow(project, "litestream.md")
    check(project)
    check_unit(project, tmp_path, "litestream", credentials=False)
    with closing(Stack(project, tmp_path)) as stack:
        with stack.service():
            stack.start_litestream()
            with stack.load():
                time.sleep(0.5)
                stack.kill_litestream()
                time.sleep(0.3)
                stack.empty_log()  # Litestream no longer finds the changes there
                time.sleep(0.2)
                stack.start_litestream()
                time.sleep(0.5)
            stack.add("wanted")
            stack.sync()
            wanted, moment = stack.added.copy(), datetime.now(UTC)
            stack.add("mistake")
            stack.sync()
            assert stack.restore(moment) == wanted
            stack.check_that_a_missing_disk_is_reported()
            stack.add("last")
        stack.stop_litestream()
        assert stack.restore() == stack.added
        assert stack.added - wanted == Counter(["mistake", "kept here", "last"])

        stack.restore(moment, keep=True)
        stack.switch()
        stack.start_litestream()
        with stack.service():
            stack.add("after")
        stack.stop_litestream()
        assert stack.restore() == wanted + Counter(["after"])
        assert stack.restore(moment) == wanted


class Stack:
    """The service and Litestream, with the directories of the host below one of the test."""

    def __init__(self, project: Path, directory: Path) -> None:
        self.project, self.data = project, directory / "data"
        self.replica = directory / "replica"
        self.data.mkdir()
        self.replica.mkdir()
        paths = {
            "/opt/my-service/current": str(project),
            "/var/lib/my-service": str(self.data),
            "/srv/replica": str(self.replica),
            "runuser -u my-service -- ": "",
        }
        configuration = project / "deploy/litestream.yml"
        configuration.write_text(self._replace(configuration.read_text(), paths))
        unit = (project / "deploy/systemd/my-service-litestream.service").read_text()
        (start,) = re.findall(r"(?m)^ExecStart=(.*)", unit)
        self._start = self._replace(start, paths).split()
        commands = blocks(project, f"{DIRECTORY}/litestream.md", language="bash")
        self._sync, self._restore, self._switch = (self._replace(c, paths) for c in commands)
        self._log = directory / "litestream.log"
        self._url = f"127.0.0.1:{free_port()}"
        self._environ = os.environ | {
            "APP_ENV": "test",
            "API_TOKENS": f"tester:{'s' * 32}",
            "BIND": self._url,
            "WEB_CONCURRENCY": "2",
            "PYTHONPATH": f"{project}/src",
            "DATABASE_URL": f"sqlite:///{self.data}/db.sqlite3",
        }
        self.added: Counter[str] = Counter()
        assert self._service("migrate").wait() == 0

    def _replace(self, text: str, paths: dict[str, str]) -> str:
        for path, other in paths.items():
            text = text.replace(path, other)
        return text

    def _service(self, command: str) -> "subprocess.Popen[bytes]":
        program = [str(self.project / ".venv/bin/python"), "-m", "my_service", command]
        return subprocess.Popen(program, env=self._environ, stderr=subprocess.DEVNULL)

    @contextmanager
    def service(self) -> Iterator[None]:
        process = self._service("serve")
        try:
            wait_until_ready(f"http://{self._url}")
            yield
        finally:
            terminate(process)

    def start_litestream(self) -> None:
        """Start Litestream as the unit does, and wait until it has copied all changes."""
        with self._log.open("ab") as log:
            self._litestream = subprocess.Popen(self._start, stdout=log, stderr=log)
        ends = time.monotonic() + 10
        while self._try_sync().returncode:
            assert time.monotonic() < ends, self._log.read_text()
            time.sleep(0.1)

    def kill_litestream(self) -> None:
        self._litestream.kill()
        self._litestream.wait()

    def stop_litestream(self) -> None:
        terminate(self._litestream)
        assert self._litestream.returncode == 0

    def close(self) -> None:
        self.kill_litestream()

    def add(self, title: str) -> None:
        with closing(self._connect()) as connection:
            self._add(title, connection)

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._url, timeout=20)

    def _add(self, title: str, connection: http.client.HTTPConnection) -> None:
        """Add a note over the service, which must accept it."""
        headers = {"Authorization": f"Bearer {'s' * 32}", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/notes", json.dumps({"title": title}), headers)
        with connection.getresponse() as response:
            assert response.status == 201
            response.read()
        self.added[title] += 1

    @contextmanager
    def load(self) -> Iterator[None]:
        """Have clients add notes until the end of the block."""
        ended, failed = threading.Event(), list[BaseException]()

        def run_client(name: int) -> None:
            try:
                with closing(self._connect()) as connection:
                    number = 0
                    while not ended.wait(0.01):
                        self._add(f"{name}-{number}", connection)
                        number += 1
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=run_client, args=[name]) for name in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert not failed
        assert all(self.added[f"{name}-0"] for name in range(CLIENTS))

    def empty_log(self) -> None:
        """Write all changes to the database's file, and truncate its write-ahead log."""
        with closing(sqlite3.connect(self.data / "db.sqlite3", timeout=10)) as connection:
            assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)

    def sync(self) -> None:
        """Run the page's command, which must copy all changes."""
        found = re.search(r"txid: (\d+)\nreplica_txid: (\d+)\n", self._run(self._sync))
        assert found
        assert found[1] == found[2] != "0"

    def _try_sync(self) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-euc", self._sync], check=False, capture_output=True, text=True
        )

    def check_that_a_missing_disk_is_reported(self) -> None:
        """Check that the page's command fails while the other disk is away, and `status` does not."""
        away = self.replica.rename(self.replica.with_name("away"))
        self.replica.touch()
        self.add("kept here")
        done = self._try_sync()
        assert done.returncode == 1
        assert "sync failed" in done.stderr
        program, *_, configuration = self._start
        assert re.search(
            r"db\.sqlite3 +ok ", run(program, "status", "-config", configuration, cwd=self.data)
        )
        self.replica.unlink()
        away.rename(self.replica)
        self.sync()

    def restore(self, moment: datetime | None = None, *, keep: bool = False) -> "Counter[str]":
        """Run the page's command, and return the titles of the restored notes."""
        assert MOMENT in self._restore
        if moment:
            text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            script = self._restore.replace(MOMENT, f"moment={text}\n")
        else:
            script = self._restore.replace('-timestamp "$moment" ', "")
        self._run(script)
        path = self.data / RESTORED
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
            titles = Counter(title for (title,) in connection.execute("SELECT title FROM notes"))
        if not keep:
            path.unlink()
        return titles

    def switch(self) -> None:
        """Replace the database as the page does, without the lines for systemd."""
        lines = OF_SYSTEMD.findall(self._switch)
        assert [verb for verb, _ in lines] == ["stop", "start"]
        for _, names in lines:
            assert {*names.split()} == {
                "my-service.socket",
                "my-service",
                "my-service-litestream",
            }
        self._run(OF_SYSTEMD.sub("", self._switch))

    def _run(self, script: str) -> str:
        return run("sh", "-euc", script, cwd=self.project)

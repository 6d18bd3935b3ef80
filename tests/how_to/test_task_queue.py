"""docs/how-to/task-queue.md: its tests, and a service, workers and Redis on a unix socket."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..support.fixtures import Generate, Needs
from ..support.process import free_port, terminate, wait_until_ready
from .steps import check, follow
from .units import check_unit

HEARTBEAT = 2  # seconds, instead of the page's 30
# A task says when it begins, and takes a second.
SLOW = 'print("begins\\n", end="", flush=True); __import__("time").sleep(1)\n    words = '


def test_tasks_are_done_by_workers_that_come_and_go(
    copied: Generate, needs: Needs, tmp_path: Path
) -> None:
    needs("redis-server", "systemd-analyze")
    project = copied()
    follow(project, "task-queue.md")
    check(project)
    check_unit(project, tmp_path, "worker")
    replace(project / "src/my_service/tasks.py", "words = ", SLOW)
    replace(project / "src/my_service/queue.py", "= 30_000", f"= {HEARTBEAT}_000")
    with Stack(project, tmp_path) as stack:
        first = stack.create_report()  # before Redis: saved, and sent by the command
        with stack.redis():
            stack.age_reports()
            stack.command("send-reports")
            killed = stack.start_worker()
            stack.wait_until_begun(1)
            killed.kill()
            killed.wait()
            stopped = stack.start_worker()
            stack.wait_for(lambda: stack.words(first) == 0)
            second, third = stack.create_report(), stack.create_report()
            stack.wait_until_begun(4)
            more = [stack.create_report() for _ in range(5)]  # the worker has four threads
            began = time.monotonic()
            terminate(stopped)
            assert time.monotonic() - began < 5
            assert stopped.returncode == 0
            assert stack.words(second) == stack.words(third) == 0  # drained
            assert stack.words(more[-1]) is None
            with stack.worker():
                stack.wait_for(lambda: all(stack.words(report) == 0 for report in more))
        assert stack.create_report() > more[-1]  # Redis has gone again
    entries = [
        json.loads(line) for line in stack.log("worker").splitlines() if line.startswith("{")
    ]
    finished = [entry for entry in entries if entry["message"] == "make_report finished"]
    assert len(finished) == 8
    assert all(entry["event.duration"] > 0.9e9 for entry in finished)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


class Stack:
    """The service, with its workers and a Redis that come and go."""

    def __init__(self, project: Path, directory: Path) -> None:
        self.project, self.directory = project, directory
        self.url = f"http://127.0.0.1:{free_port()}"
        self.socket = directory / "redis.sock"
        self.environ = os.environ | {
            "APP_ENV": "test",
            "LOG_FORMAT": "json",
            "API_TOKENS": f"tester:{'s' * 32}",
            "BIND": self.url.removeprefix("http://"),
            "PYTHONPATH": f"{project}/src",
            "DATABASE_URL": f"sqlite:///{directory}/db.sqlite3",
            "REDIS_URL": f"unix://{self.socket}",
        }

    def __enter__(self) -> "Stack":
        self.command("migrate")
        self.service = self._start("serve", "service")
        wait_until_ready(self.url)
        return self

    def __exit__(self, *_exception: object) -> None:
        terminate(self.service)

    def _program(self, *arguments: str) -> list[str]:
        return [str(self.project / ".venv/bin/python"), "-m", "my_service", *arguments]

    def _start(self, command: str, log: str) -> "subprocess.Popen[bytes]":
        with (self.directory / f"{log}.log").open("ab") as output:
            return subprocess.Popen(
                self._program(command), env=self.environ, stdout=output, stderr=output
            )

    def command(self, *arguments: str) -> None:
        subprocess.run(self._program(*arguments), env=self.environ, check=True, capture_output=True)

    @contextmanager
    def redis(self) -> Iterator[None]:
        """Run Redis with the configuration of the page."""
        configuration = (self.project / "deploy/redis.conf").read_text()
        path = self.directory / "redis.conf"
        socket = "/run/redis-my-service/redis-server.sock"
        path.write_text(
            configuration.replace(socket, str(self.socket)).replace(
                "/var/lib/redis", str(self.directory)
            )
        )
        process = subprocess.Popen(["redis-server", path], stdout=subprocess.DEVNULL)
        try:
            self.wait_for(self.socket.exists)
            yield
        finally:
            terminate(process)

    def start_worker(self) -> "subprocess.Popen[bytes]":
        return self._start("work", "worker")

    @contextmanager
    def worker(self) -> Iterator[None]:
        process = self.start_worker()
        try:
            yield
        finally:
            terminate(process)

    def create_report(self) -> int:
        return int(self._request("POST", "/api/v1/reports")["id"])

    def words(self, report: int) -> int | None:
        words: int | None = self._request("GET", f"/api/v1/reports/{report}")["words"]
        return words

    def _request(self, method: str, path: str) -> dict[str, int]:
        request = urllib.request.Request(
            f"{self.url}{path}", method=method, headers={"Authorization": f"Bearer {'s' * 32}"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            body: dict[str, int] = json.load(response)
            return body

    def age_reports(self) -> None:
        """Make the reports an hour older, by the command `shell`."""
        program = (
            "from datetime import timedelta\n"
            "for report in session.scalars(select(Report)): report.created_at -= timedelta(hours=1)\n"
            "session.commit()\n"
        )
        subprocess.run(
            self._program("shell"), input=program, env=self.environ, check=True, text=True
        )

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def wait_until_begun(self, tasks: int) -> None:
        self.wait_for(lambda: self.log("worker").count("begins") >= tasks)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        ends = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < ends, self.log("worker")
            time.sleep(0.05)

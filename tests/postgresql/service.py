"""The generated service on PostgreSQL, and clients that keep a ledger of its responses."""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from ..support.process import free_port, run, terminate

TOKEN = "t" * 32
NOTES = "/api/v1/notes"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    json: Any


class Service:
    """A `serve` process of a project."""

    def __init__(self, project: Path, directory: Path, database_url: str) -> None:
        self.project = project
        self.directory = directory
        self.port = free_port()
        self.environ = {
            "API_TOKENS": f"tester:{TOKEN}",
            "BIND": f"127.0.0.1:{self.port}",
            "DATABASE_URL": database_url,
            "PYTHONPATH": f"{project}/src",
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._log = directory / "service.log"

    def command(self, *arguments: str) -> str:
        return run(
            sys.executable, "-m", "my_service", *arguments, cwd=self.directory, **self.environ
        )

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "my_service", "serve"],
                cwd=self.directory,
                env={"PATH": os.environ["PATH"], **self.environ},
                stderr=log,
            )
        self.wait_for("/livez", 200)

    def stop(self) -> None:
        if self.process:
            terminate(self.process)

    def log(self) -> str:
        return self._log.read_text()

    def request(self, method: str, path: str, body: object = None) -> Response:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, json.dumps(body) if body else None, HEADERS)
            response = connection.getresponse()
            return Response(response.status, dict(response.headers), json.loads(response.read()))

    def wait_for(self, path: str, status: int, seconds: float = 20) -> None:
        """Wait until the path responds with this status. Fails the test after `seconds`."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            try:
                if self.request("GET", path).status == status:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path} did not become {status}:\n{self.log()[-3000:]}")

    def titles(self) -> list[str]:
        """Return the titles of all notes."""
        titles: list[str] = []
        after = 0
        while after is not None:
            page = self.request("GET", f"{NOTES}?limit=100&after={after}").json
            titles += [note["title"] for note in page["items"]]
            after = page["next"]
        return titles


class Load:
    """Clients that write and read notes. Each title is sent once, so a repeated one is a fault."""

    def __init__(self, service: Service, clients: int = 6) -> None:
        self._service = service
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[n]) for n in range(clients)]
        self.responses: list[tuple[str, str, Response]] = []  # method, title, response
        self.failures: list[Exception] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: int) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            title = f"{client}-{number}"
            try:
                for method, path, body in (
                    ("POST", NOTES, {"title": title}),
                    ("GET", NOTES, None),
                ):
                    self.responses.append(
                        (method, title, self._service.request(method, path, body))
                    )
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failures.append(error)

    def wait_for_successes(self, number: int) -> None:
        """Wait until so many more requests have succeeded."""
        ends = time.monotonic() + 20
        wanted = self.statuses()[201] + number
        while self.statuses()[201] < wanted:
            assert time.monotonic() < ends, self.statuses()
            time.sleep(0.02)

    def statuses(self) -> Counter[int]:
        return Counter(response.status for _, _, response in self.responses)

    def check(self) -> Counter[int]:
        """Check that the service lost and doubled nothing; return the number of each status."""
        assert self.failures == []
        statuses = self.statuses()
        assert set(statuses) <= {200, 201, 503}, statuses
        refused = [response for _, _, response in self.responses if response.status == 503]
        assert all(response.headers.get("Retry-After") == "1" for response in refused)
        titles = Counter(self._service.titles())
        acknowledged = {title for _, title, response in self.responses if response.status == 201}
        assert acknowledged <= set(titles), "acknowledged notes are lost"
        assert max(titles.values()) == 1, "notes are doubled"
        return statuses


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until the condition is true. Fails the test if it stays false for `seconds`."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)

"""docs/how-to/migrations.md: each release serves before, during and after the migration of the next."""

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..support.fixtures import Generate
from ..support.postgresql import Cluster
from ..support.process import free_port, run, terminate, wait_until_ready
from .steps import check, follow

NOTES = "/api/v1/notes"
TOKEN = "t" * 32


class Releases:
    """The releases of one project and the notes that they have to show."""

    def __init__(self, project: Path, directory: Path, database_url: str) -> None:
        self.project = project
        self.directory = directory
        self.trees: list[Path] = []
        self.bodies: dict[int, str] = {}
        self.port = free_port()
        self.environ = {
            "PATH": os.environ["PATH"],
            "API_TOKENS": f"tester:{TOKEN}",
            "BIND": f"127.0.0.1:{self.port}",
            "DATABASE_URL": database_url,
            "WEB_CONCURRENCY": "1",
        }

    def add(self) -> None:
        """Keep the present tree of the project as a release."""
        tree = self.directory / f"release{len(self.trees)}"
        shutil.copytree(self.project, tree, ignore=shutil.ignore_patterns(".venv"))
        self.trees.append(tree)

    def command(self, number: int, name: str) -> list[str]:
        """Return a command of a release; its `src` comes before that of the environment."""
        self.environ["PYTHONPATH"] = f"{self.trees[number]}/src"
        return [f"{self.project}/.venv/bin/python", "-m", "my_service", name]

    def migrate(self, number: int) -> None:
        run(*self.command(number, "migrate"), cwd=self.directory, **self.environ)

    @contextmanager
    def serving(self, number: int) -> Iterator[None]:
        """Serve a release, and check what it shows and writes at the begin and at the end."""
        log = self.directory / f"log{number}"
        with log.open("a") as output:
            service = subprocess.Popen(
                self.command(number, "serve"),
                cwd=self.trees[number],
                env=self.environ,
                stderr=output,
            )
        try:
            wait_until_ready(f"http://127.0.0.1:{self.port}")
            self.use(f"release {number}")
            yield
            self.use(f"release {number} again")
        except BaseException:
            print(log.read_text()[-5000:])
            raise
        finally:
            terminate(service)

    def use(self, text: str) -> None:
        """Add a note, replace the oldest one and the newest but one, and read all."""
        created = self.request("POST", NOTES, {"title": "x", "body": f"{text}, new"})
        self.bodies[created["id"]] = f"{text}, new"
        for number in {min(self.bodies), max(1, created["id"] - 1)}:
            self.bodies[number] = f"{text}, replaced"
            self.request("PUT", f"{NOTES}/{number}", {"title": "y", "body": self.bodies[number]})
        items = self.request("GET", f"{NOTES}?limit=100")["items"]
        assert {item["id"]: item["body"] for item in items} == self.bodies

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON of a response that must be a success."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            content = response.read()
            assert response.status in (200, 201), content
            return json.loads(content)
        finally:
            connection.close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_column_can_be_renamed_while_the_service_runs(
    request: pytest.FixtureRequest, copied: Generate, tmp_path: Path, database: str
) -> None:
    project = copied(database=database)
    directory = tmp_path / "releases"
    directory.mkdir()
    url, development = f"sqlite:///{directory}/db.sqlite3", {}
    if database == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgresql")
        url = cluster.url(cluster.create_database())
        development = {"DATABASE_URL": cluster.url(cluster.create_database())}
    releases = Releases(project, directory, url)
    releases.add()

    def add_release(command: str) -> None:
        if "make migrate\n" in command:
            releases.add()

    follow(project, "migrations.md", add_release, **development)
    assert len(releases.trees) == 5
    check(project)
    releases.migrate(0)
    for number in range(1, len(releases.trees)):
        with releases.serving(number - 1):
            releases.migrate(number)
        with releases.serving(number):
            pass
        with releases.serving(number - 1):  # after a rollback
            pass

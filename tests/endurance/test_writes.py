"""Two processes with eight threads each write the same notes: `make soak` does so for 30 s."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import Any, NamedTuple

import pytest

from ..support.fixtures import Generate
from ..support.postgresql import Cluster
from ..support.process import free_port, run, terminate, wait_until_ready

SECONDS = 30.0 if "SOAK" in os.environ else 3.0
PROCESSES, THREADS = 2, 8
TOKEN = "t" * 32
NOTES = "/api/v1/notes"


class Response(NamedTuple):
    status: int
    headers: Any
    json: Any


class Client:
    """A client with a connection of its own."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def send(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        sent = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        text = None if body is None else json.dumps(body)
        self._connection.request(method, path, text, sent)
        response = self._connection.getresponse()
        content = response.read()
        return Response(response.status, response.headers, json.loads(content or "null"))

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with closing(Client(port)) as client:
        yield client


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def port(
    request: pytest.FixtureRequest, generated: Generate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The port of a started service with a database of its own."""
    directory, port = tmp_path_factory.mktemp("writes"), free_port()
    project, url = generated(database=request.param), f"sqlite:///{directory}/db.sqlite3"
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgresql")
        url = cluster.url(cluster.create_database())
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{project}/src",
        "API_TOKENS": f"tester:{TOKEN}",
        "BIND": f"127.0.0.1:{port}",
        "DATABASE_URL": url,
        "WEB_CONCURRENCY": str(PROCESSES),
        "WEB_THREADS": str(THREADS),
    }
    command = [sys.executable, "-m", "my_service"]
    run(*command, "migrate", cwd=project, **environ)
    log = directory / "log"
    with log.open("w") as output:
        service = subprocess.Popen([*command, "serve"], cwd=project, env=environ, stderr=output)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}")
        yield port
    finally:
        terminate(service)
    assert '"log.level":"error"' not in log.read_text()


def at_once(port: int, number: int, *request: Any, **headers: str) -> list[Response]:
    """Send a request so many times at once, each on its own connection."""
    barrier = Barrier(number)

    def send(_: int) -> Response:
        with closing(Client(port)) as client:
            client.send("GET", "/livez")
            barrier.wait()
            return client.send(*request, **headers)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(send, range(number)))


def test_one_of_five_equal_entity_tags_wins(port: int, client: Client) -> None:
    created = client.send("POST", NOTES, {"title": "x"})
    path, tag = created.headers["Location"], created.headers["ETag"]
    responses = at_once(port, 5, "PUT", path, {"title": "y"}, If_Match=tag)
    assert Counter(response.status for response in responses) == {200: 1, 412: 4}


def test_six_equal_idempotency_keys_create_one_note(port: int) -> None:
    responses = at_once(port, 6, "POST", NOTES, {"title": "once"}, Idempotency_Key='"six"')
    assert {response.status for response in responses} == {201}
    assert len({response.json["id"] for response in responses}) == 1
    assert len({response.headers["ETag"] for response in responses}) == 1


def test_no_update_is_lost_and_no_client_sees_a_lock(port: int, client: Client) -> None:
    """Each thread adds 1 to the number in a note, and repeats each POST with its key."""

    def create(body: str) -> Response:
        return client.send("POST", NOTES, {"title": "counter", "body": body})

    paths = [create("0").headers["Location"] for _ in range(4)]
    before = create("before").json["id"]
    ends = time.monotonic() + SECONDS

    def write(thread: int) -> Counter[str]:
        seen = Counter[str]()
        with closing(Client(port)) as client:
            while time.monotonic() < ends:
                path = paths[seen.total() % len(paths)]
                read = client.send("GET", path)
                note = {"title": "counter", "body": str(int(read.json["body"]) + 1)}
                put = client.send("PUT", path, note, If_Match=read.headers["ETag"])
                seen[f"PUT {put.status}"] += 1
                seen[path] += put.status == 200
                key = f'"{thread}-{seen.total()}"'
                for _ in range(2):
                    posted = client.send("POST", NOTES, {"title": key}, Idempotency_Key=key)
                    seen[f"POST {posted.status}"] += 1
        return seen

    with ThreadPoolExecutor(PROCESSES * THREADS) as threads:
        seen = sum(threads.map(write, range(PROCESSES * THREADS)), Counter[str]())
    print(f"{SECONDS:g} s: {dict(seen)}")
    assert set(seen) == {"PUT 200", "PUT 412", "POST 201", *paths}
    for path in paths:
        assert int(client.send("GET", path).json["body"]) == seen[path]
    assert create("after").json["id"] - before - 1 == seen["POST 201"] / 2

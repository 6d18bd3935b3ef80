"""Replaced workers that count in one metrics directory: print mistakes as a line of JSON.

python -m tests.endurance.recycling WORKERS [files|gauges]

A worker counts, keeps one request open, and exits or is killed. `files` and `gauges` plant a mistake
of that kind, which the test has to find.
"""

import itertools
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from bottle_service.telemetry import worker_slots
from bottle_service.telemetry.exchange import Exchange
from bottle_service.telemetry.metrics import Metrics
from bottle_service.telemetry.worker_slots import WorkerSlot

TOGETHER = 4
COUNT = (
    r'^http_server_request_duration_seconds_count{http_request_method="GET",'
    r'http_response_status_code="(\d+)",http_route="([^"]*)"} (\S+)$'
)


class Worker(NamedTuple):
    """Forked process, and the parent's end of the pipe to it."""

    pid: int
    ours: Connection

    def request(self, command: str) -> str:
        """Send a command and return the reply, which the worker sends after it has counted."""
        self.ours.send(command)
        return str(self.ours.recv())

    def end(self, kill: bool) -> None:
        """Stop or kill the process."""
        if kill:
            os.kill(self.pid, signal.SIGKILL)
        else:
            self.ours.send("")
        os.waitpid(self.pid, 0)
        self.ours.close()


def exchanges(number: int) -> list[tuple[str, int]]:
    """Return the route and status of each request that this worker counts."""
    return [(f"/{i % 3}", 200 + number % 2) for i in range(number % 7 + 1)]


def work(number: int, parent: Connection) -> None:
    """Count requests, then reply to commands."""
    own = Metrics()
    for rule, status in exchanges(number):
        environ = {"REQUEST_METHOD": "GET", "bottle.route": SimpleNamespace(rule=rule)}
        own.request_started()
        own.request_finished(Exchange(environ, "", 0.0, seconds=0.02, status=status))
    own.request_started()
    while command := parent.recv():
        try:
            parent.send(own.exposition().decode() if command == "metrics" else command)
        except Exception:
            parent.send(traceback.format_exc())


def start(number: int) -> Worker:
    """Fork a worker."""
    ours, its = Pipe()
    if pid := os.fork():
        its.close()
        return Worker(pid, ours)
    try:
        work(number, its)
    finally:
        os._exit(0)


def start_and_kill(seconds: float) -> None:
    """Start a worker and kill it after the time, wherever it is."""
    pid = os.fork()
    if not pid:
        Metrics()
        time.sleep(60)
        os._exit(0)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def files(directory: str) -> dict[str, int]:
    """Return the sizes of the .db files, and 0 for the others, whose size depends on the PID."""
    sizes = {path.name: path.stat().st_size for path in Path(directory).iterdir()}
    return {name: size if name.endswith(".db") else 0 for name, size in sizes.items()}


def wrong_metrics(alive: list[Worker], started: int) -> Iterator[str]:
    """Yield wrong metrics of one of the workers."""
    for worker in alive:
        worker.request("counted?")
    text = alive[started % len(alive)].request("metrics")
    expected = Counter(itertools.chain.from_iterable(map(exchanges, range(started))))
    found = re.findall(COUNT, text, re.MULTILINE)
    counted = {(rule, int(status)): float(count) for status, rule, count in found}
    # Each worker keeps one request open until it exits.
    active = re.findall(r"^http_server_active_requests (\S+)$", text, re.MULTILINE)
    live = re.findall("^process_threads{", text, re.MULTILINE)
    if counted != expected or active != [f"{len(alive)}.0"] or len(live) != len(alive):
        yield f"{started} workers, {len(alive)} alive: {text[-2000:]}"


def recycle(total: int, directory: str) -> Iterator[str]:
    """Replace workers, four at a time, and yield wrong metrics and files."""
    chance = random.Random(1)  # noqa: S311
    alive: list[Worker] = []
    first: dict[str, int] = {}
    try:
        for number in range(total):
            if len(alive) == TOGETHER:
                worker = alive.pop(chance.randrange(TOGETHER))
                worker.request("counted?")
                worker.end(kill=number % 2 == 0)
                if number % 5 == 0:
                    start_and_kill(chance.random() / 200)
                    yield from wrong_metrics(alive, number)
            alive.append(start(number))
            if len(alive) == TOGETHER and (not first or number % 50 == 49):
                yield from wrong_metrics(alive, number + 1)
                first = first or files(directory)
                if files(directory) != first:
                    yield f"{number + 1} workers: {len(files(directory))} files, {len(first)} at first"
    finally:
        for worker in alive:
            worker.end(kill=True)


def all_slots(slot: WorkerSlot) -> list[tuple[int, bytes]]:
    """Return each slot as if its worker were alive."""
    paths = Path(slot.directory).glob("worker-*")
    return [(int(path.name.removeprefix("worker-")), path.read_bytes()) for path in paths]


def main() -> None:
    match sys.argv[2:]:
        case ["files"]:  # one file for each process ID, as prometheus_client does
            counter = SimpleNamespace(count=lambda: itertools.count(os.getpid()))
            setattr(worker_slots, "itertools", counter)  # noqa: B010 - mypy rejects an assignment
        case ["gauges"]:  # count dead workers, too
            setattr(WorkerSlot, "_slots", all_slots)  # noqa: B010 - mypy rejects an assignment
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        os.environ |= {"PROMETHEUS_MULTIPROC_DIR": directory, "SERVE_NAME": "sample"}
        wrong = [*recycle(int(sys.argv[1]), directory)]
        left = files(directory)
    figures = {
        "files": len(left),
        "bytes": sum(left.values()),
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps({"wrong": len(wrong), "first": wrong[:3], **figures}))


if __name__ == "__main__":
    main()

"""Metrics over workers: they are summed, and stay right when workers are replaced."""

import os
import re
import signal
import time
from pathlib import Path

from .exposition import COUNT, samples
from .running_service import Launcher, ServiceProcess, free_port, is_stopped, wait_until
from .server_selection import with_workers

pytestmark = with_workers


def metrics_directories(service: ServiceProcess) -> set[Path]:
    """Return the directories in which the service counts (proc(5))."""
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in service.workers())
    return {Path(path) for path in re.findall(r"/\S*-metrics-[^/]*(?=/)", maps)}


def test_metrics_are_in_memory_until_the_server_stops(launcher: Launcher) -> None:
    """Neither a slow nor a full disk stops a worker."""
    service = launcher.start(TMPDIR="")
    (directory,) = metrics_directories(service)
    assert directory.parent == Path("/dev/shm")  # noqa: S108
    service.stop()
    wait_until(lambda: not directory.exists(), 30)


def test_metrics_are_removed_if_the_server_cannot_listen(launcher: Launcher) -> None:
    service = launcher.start(f"127.0.0.1:{free_port()}")
    (directory,) = metrics_directories(service)
    assert directory.parent == service.directory
    second = launcher.start(service.bind, wait=False)
    assert second.process.wait(timeout=20)
    wait_until(lambda: not [*second.directory.glob("*-metrics-*")], 30)


def process_count(service: ServiceProcess) -> int:
    try:
        return len(samples(service.metrics(), "process_threads"))
    except OSError:
        return 0


def requests_of(service: ServiceProcess) -> float:
    return sum(samples(service.metrics(), COUNT, http_route="/livez").values())


def test_requests_of_all_workers_are_summed_also_when_replaced(launcher: Launcher) -> None:
    service = launcher.start()
    wait_until(lambda: process_count(service) == 2)
    before = requests_of(service)
    for worker in service.workers():
        # One worker would take every request of a light load, so the other is stopped meanwhile.
        os.kill(worker, signal.SIGSTOP)
        wait_until(lambda worker=worker: is_stopped(worker))  # type: ignore[misc]
        for _ in range(10):
            service.get("/livez")
        os.kill(worker, signal.SIGCONT)
    assert requests_of(service) == before + 20
    for worker, number in zip(service.workers(), (signal.SIGKILL, signal.SIGTERM), strict=True):
        os.kill(worker, number)
        time.sleep(0.2)
    wait_until(lambda: process_count(service) == 2)
    for _ in range(10):
        service.get("/livez")
    assert requests_of(service) == before + 30
    text = service.metrics()
    assert list(samples(text, "http_server_active_requests").values()) == [1]
    assert len(samples(text, "process_threads")) == 2
    # Three kinds of file for each of the two workers, and none of those that have exited.
    assert len(list(service.directory.glob("*-metrics-*/*.db"))) == 6

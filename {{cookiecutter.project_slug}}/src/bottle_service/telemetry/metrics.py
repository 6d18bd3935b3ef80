"""Metrics for Prometheus, with the names of OpenTelemetry.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
"""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from prometheus_client import CollectorRegistry, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from .exchange import Exchange
from .worker_slots import WorkerSlot

__all__ = ["Metrics"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LABELS = ("http_request_method", "http_route", "http_response_status_code")


class Metrics:
    """Recorder that measures requests, and the metrics of all workers of the server.

    The workers count in files of the directory PROMETHEUS_MULTIPROC_DIR, which `serve` creates.
    Otherwise there is one process, which counts in memory.
    """

    def __init__(self, release: str = "") -> None:
        self._release = release
        # Without SERVE_NAME, the directory is that of another program, and perhaps gone.
        directory = (
            os.environ.get("PROMETHEUS_MULTIPROC_DIR") if "SERVE_NAME" in os.environ else None
        )
        self._slot = WorkerSlot(directory) if directory else None
        if self._slot is None:
            values.ValueClass = values.MutexValue
        self._registry = CollectorRegistry()
        self._duration = Histogram(
            "http_server_request_duration_seconds",
            "From the first byte read to the last one passed to the server.",
            LABELS,
            buckets=BUCKETS,
            registry=self._registry,
        )
        # Process ID and requests in flight. Not a Gauge: its two changes for each request would
        # cost as much as the histogram.
        self._state = self._slot.state if self._slot else [os.getpid(), 0]
        self._lock = threading.Lock()
        # `labels()` dominates the cost, and there are few combinations of labels.
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def request_started(self) -> None:
        with self._lock:
            self._state[1] += 1

    def request_finished(self, exchange: Exchange) -> None:
        """Count the exchange by its route's rule: every path would be a series of its own."""
        with self._lock:
            self._state[1] -= 1
        environ = exchange.environ
        method = environ["REQUEST_METHOD"]
        route = environ.get("bottle.route")
        key = (
            method if method in METHODS else "_OTHER",
            route.rule if route else "",
            exchange.status,
        )
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._duration.labels(*key)
        child.observe(exchange.seconds)

    def exposition(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        if self._slot is None:
            workers = {0: (os.getpid(), self._state[1])}
            return generate_latest(self._registry) + self._of_workers(workers)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._slot.directory)
        with self._slot.exclusive():
            for number in self._slot.dead_slots():
                mark_process_dead(number, self._slot.directory)
            return generate_latest(registry) + self._of_workers(self._slot.live_workers())

    def _of_workers(self, workers: dict[int, tuple[int, int]]) -> bytes:
        return generate_latest(_WorkerCollector(workers, self._release))


class _WorkerCollector(Collector):
    """The release, the requests in flight, and the workers' use of the host (proc(5), Linux)."""

    def __init__(self, workers: dict[int, tuple[int, int]], release: str) -> None:
        self._workers = workers
        self._release = release

    def collect(self) -> Iterator[Metric]:
        # OpenTelemetry's name for the source of the metrics.
        yield InfoMetricFamily("target", "The release.", {"service_version": self._release})
        yield GaugeMetricFamily(
            "http_server_active_requests",
            "Requests in flight.",
            sum(active for _, active in self._workers.values()),
        )
        for name, text, read in (
            ("process_resident_memory_bytes", "Resident memory of the worker.", _resident),
            ("process_open_fds", "Open file descriptors of the worker.", partial(_entries, "fd")),
            ("process_threads", "Threads of the worker.", partial(_entries, "task")),
        ):
            family = GaugeMetricFamily(name, text, labels=["worker"])
            for number, (pid, _) in self._workers.items():
                with suppress(OSError):  # not on Linux, or the worker has just exited
                    family.add_metric([str(number)], read(pid))
            yield family


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _entries(directory: str, pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/{directory}"))

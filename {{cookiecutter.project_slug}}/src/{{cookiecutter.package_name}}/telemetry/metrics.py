"""Metrics for Prometheus, with OpenTelemetry's names.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
"""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from ..settings import RELEASE
from .workers import Worker

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LABELS = ("http_request_method", "http_route", "http_response_status_code")


class Metrics:
    """The metrics of one application, summed over the workers of its server.

    Each worker counts in files of the directory PROMETHEUS_MULTIPROC_DIR, which `serve` makes;
    without it there is one process, which counts in memory.
    """

    def __init__(self) -> None:
        directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._worker = Worker(directory) if directory else None
        self._registry = CollectorRegistry()
        self._duration = Histogram(
            "http_server_request_duration_seconds",
            "From the first byte read to the last one handed to the server.",
            LABELS,
            buckets=BUCKETS,
            registry=self._registry,
        )
        # A Gauge would cost as much as the histogram, twice a request.
        self._active = 0
        self._lock = threading.Lock()
        # `labels()` costs more than all the rest, and there are few: methods, routes, statuses.
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def begin(self) -> None:
        self._add_active(1)

    def end(self, exchange: Any) -> None:
        """Count the exchange under its route's rule; a path would make a series of its own."""
        self._add_active(-1)
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

    def _add_active(self, change: int) -> None:
        with self._lock:
            self._active += change
            if self._worker:
                self._worker.tell(self._active)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        if self._worker is None:
            own = {0: (os.getpid(), self._active)}
            return generate_latest(self._registry) + generate_latest(_Workers(own))
        together = CollectorRegistry()
        MultiProcessCollector(together, self._worker.directory)
        with self._worker.undisturbed():
            for number in self._worker.dead():
                mark_process_dead(number, self._worker.directory)
            return generate_latest(together) + generate_latest(_Workers(self._worker.live()))


class _Workers(Collector):
    """What runs, what the live workers do, and take of the machine: from Linux' /proc (proc(5))."""

    def __init__(self, live: dict[int, tuple[int, int]]) -> None:
        self._live = live

    def collect(self) -> Iterator[Metric]:
        # OpenTelemetry's name for what the numbers are of.
        yield InfoMetricFamily("target", "The release.", {"service_version": RELEASE})
        yield GaugeMetricFamily(
            "http_server_active_requests",
            "Requests that are being answered.",
            sum(active for _, active in self._live.values()),
        )
        for name, text, read in (
            ("process_resident_memory_bytes", "Resident memory of the worker.", _resident),
            ("process_open_fds", "Open file descriptors of the worker.", partial(_entries, "fd")),
            ("process_threads", "Threads of the worker.", partial(_entries, "task")),
        ):
            family = GaugeMetricFamily(name, text, labels=["worker"])
            for number, (pid, _) in self._live.items():
                with suppress(OSError):  # not Linux, or gone meanwhile
                    family.add_metric([str(number)], read(pid))
            yield family


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _entries(directory: str, pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/{directory}"))

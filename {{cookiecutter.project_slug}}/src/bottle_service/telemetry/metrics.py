"""Metrics for Prometheus, with the names of OpenTelemetry.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from .exchange import Exchange
from .worker_slots import WorkerSlot

__all__ = ["Metrics"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LABELS = ("http_request_method", "http_route", "http_response_status_code")
M = TypeVar("M", bound=MetricWrapperBase)


class Metrics:
    """Recorder that measures requests, and the metrics of all workers of the server.

    `counter`, `gauge` and `histogram` return a metric of the service's own, with these labels, and
    create it at the first call. Each value of a label is a series of its own, so a label must have
    few values, and none that a client can choose freely.

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
        self._own_families: dict[str, Any] = {}
        self._read_at_scrape: dict[str, tuple[str, Callable[[], float]]] = {}
        self._own_children: dict[tuple[object, ...], Any] = {}

    def counter(self, name: str, help_text: str, /, **labels: str) -> Counter:
        """Return a counter: a sum over all workers, also those that have exited.

        Raises ValueError if `name` is invalid, or is another kind of metric or has other labels.
        """
        return self._own_metric(Counter, name, help_text, labels)

    def gauge(
        self,
        name: str,
        help_text: str,
        /,
        *,
        workers: Literal["sum", "max", "min", "latest"] = "sum",
        **labels: str,
    ) -> Gauge:
        """Return a gauge. `workers` says which value is exposed if live workers have several.

        The values of a worker are removed when it exits. `latest` is for a value that every worker
        would set alike; such a gauge has only `set`. Raises ValueError, as `counter` does.
        """
        mode = f"live{'mostrecent' if workers == 'latest' else workers}"
        return self._own_metric(Gauge, name, help_text, labels, multiprocess_mode=mode)

    def histogram(
        self,
        name: str,
        help_text: str,
        /,
        *,
        buckets: Sequence[float] = BUCKETS,
        **labels: str,
    ) -> Histogram:
        """Return a histogram over all workers; `buckets` are upper limits, by default seconds.

        Raises ValueError, as `counter` does.
        """
        return self._own_metric(Histogram, name, help_text, labels, buckets=buckets)

    def read_at_scrape(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value each exposition reads: for a value of the host, not of a worker."""
        self._read_at_scrape[name] = help_text, read

    def _own_metric(
        self, kind: type[M], name: str, help_text: str, labels: dict[str, str], **options: Any
    ) -> M:
        key = (kind, name, *labels.items())
        child: M | None = self._own_children.get(key)
        if child is not None:
            return child
        with self._lock:
            family = self._own_families.get(name)
            if family is None:
                family = kind(name, help_text, [*labels], registry=self._registry, **options)
                self._own_families[name] = family
            if type(family) is not kind:
                raise ValueError(f"{name!r} is a {type(family).__name__.lower()}")
            if {*family._labelnames} != {*labels}:
                names = ", ".join(family._labelnames) or "none"
                raise ValueError(f"{name!r} has the labels {names}")
            child = self._own_children[key] = family.labels(**labels) if labels else family
            return child

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
        return generate_latest(_WorkerCollector(workers, self._release, self._read_at_scrape))


class _WorkerCollector(Collector):
    """The release, the requests in flight, values of the host, and the workers' use of the host (proc(5), Linux)."""

    def __init__(
        self,
        workers: dict[int, tuple[int, int]],
        release: str,
        values: Mapping[str, tuple[str, Callable[[], float]]],
    ) -> None:
        self._workers = workers
        self._release = release
        self._values = values

    def collect(self) -> Iterator[Metric]:
        # OpenTelemetry's name for the source of the metrics.
        yield InfoMetricFamily("target", "The release.", {"service_version": self._release})
        yield GaugeMetricFamily(
            "http_server_active_requests",
            "Requests in flight.",
            sum(active for _, active in self._workers.values()),
        )
        for name, (text, read_value) in self._values.items():
            yield GaugeMetricFamily(name, text, read_value())
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

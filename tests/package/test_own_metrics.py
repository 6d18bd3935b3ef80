"""Metrics of a service's own: in one process, in threads, and over workers that come and go."""

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import ModuleType

import prometheus_client
import pytest
from bottle import Bottle
from webtest import TestApp

from bottle_service.application import build_application
from bottle_service.startup import StartupError
from bottle_service.telemetry.metrics import Metrics

from .exposition import samples
from .running_service import Launcher, ServiceProcess, is_stopped, wait_until
from .sample.app import DIRECTORY, NAME, create_app
from .sample.settings import Settings
from .server_selection import with_workers
from .tokens import ADMIN_TOKEN, TOKEN


def sold(metrics: Metrics, kind: str) -> None:
    metrics.counter("tickets_sold_total", "Tickets sold, by kind.", kind=kind).inc()


def exposed(metrics: Metrics) -> str:
    return metrics.exposition().decode()


def test_counter_has_help_and_a_value_for_each_label() -> None:
    metrics = Metrics()
    for kind in ("adult", "child", "adult"):
        sold(metrics, kind)
    text = exposed(metrics)
    assert (
        "# HELP tickets_sold_total Tickets sold, by kind.\n# TYPE tickets_sold_total counter"
        in text
    )
    assert samples(text, "tickets_sold_total") == {
        'tickets_sold_total{kind="adult"} 2.0': 2,
        'tickets_sold_total{kind="child"} 1.0': 1,
    }


def test_metric_without_labels_is_zero_before_its_first_event() -> None:
    metrics = Metrics()
    metrics.counter("restarts_total", "Restarts.")
    assert list(samples(exposed(metrics), "restarts_total").values()) == [0]


def test_gauge_goes_up_and_down() -> None:
    metrics = Metrics()
    for change in (3, -1):
        metrics.gauge("open_tills", "Open tills.").inc(change)
    assert list(samples(exposed(metrics), "open_tills").values()) == [2]


def test_histogram_has_the_given_buckets() -> None:
    metrics = Metrics()
    metrics.histogram("file_bytes", "Size of files.", buckets=(1000, 1_000_000)).observe(5000)
    buckets = samples(exposed(metrics), "file_bytes_bucket")
    assert list(buckets.values()) == [0, 1, 1]


def test_label_may_have_the_name_of_a_parameter() -> None:
    metrics = Metrics()
    metrics.counter("x_total", "X.", name="a", help_text="b").inc()
    assert samples(exposed(metrics), r"x_total\{help_text=\"b\",name=\"a\"\}")


@pytest.mark.parametrize(
    ("again", "message"),
    [
        (lambda metrics: metrics.gauge("x_total", "X.", kind="a"), "'x_total' is a counter"),
        (lambda metrics: metrics.counter("x_total", "X."), "'x_total' has the labels kind"),
        (lambda metrics: metrics.counter("x_total", "X.", colour="a"), "has the labels kind"),
    ],
)
def test_second_use_that_differs_raises(again: Callable[[Metrics], object], message: str) -> None:
    metrics = Metrics()
    metrics.counter("x_total", "X.", kind="a")
    with pytest.raises(ValueError, match=message):
        again(metrics)


def test_threads_count_every_event() -> None:
    metrics = Metrics()
    with ThreadPoolExecutor(8) as pool:
        for number in range(4000):
            pool.submit(sold, metrics, f"{number % 50}")
    assert list(samples(exposed(metrics), "tickets_sold_total").values()) == [80] * 50


def test_applications_of_one_process_count_apart(environ: dict[str, str]) -> None:
    first, second = (create_app(Settings.load(environ)) for _ in range(2))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    TestApp(first).post_json("/greetings", {"name": "a"}, headers=headers)
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    values = [
        list(
            samples(TestApp(app).get("/metrics", headers=headers).text, "greetings_total").values()
        )
        for app in (first, second)
    ]
    assert values == [[1], []]


def test_metric_of_a_module_is_a_problem(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would count in the memory of one worker, and /metrics would not have it."""
    module = ModuleType("sample.loans")
    module.__file__ = str(DIRECTORY / "loans.py")
    registry = prometheus_client.CollectorRegistry()  # the default one would keep the metric
    module.__dict__["LOANS"] = prometheus_client.Counter("loans", "Loans.", registry=registry)
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def create() -> Bottle:
        settings = Settings.load(environ)
        return build_application(
            NAME, DIRECTORY, settings, lambda app: None, variables={}, dependencies={}
        )

    with pytest.raises(StartupError) as raised:
        create()
    assert [str(problem) for problem in raised.value.problems] == [
        f"{DIRECTORY}/loans.py: LOANS counts in the memory of one process and is not in /metrics; "
        "use the dependency `metrics`: docs/how-to/metrics.md"
    ]
    monkeypatch.delitem(sys.modules, module.__name__)
    create().close()


# Over workers


def greet(service: ServiceProcess, times: int) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    for _ in range(times):
        with closing(service.connect()) as connection:
            connection.request("POST", "/greetings", b'{"name": "World"}', headers)
            assert connection.getresponse().read() == b'{"greeting":"Hello, World!"}'


def one_value(service: ServiceProcess, name: str) -> float:
    (value,) = samples(service.metrics(), name).values() or [-1.0]
    return value


def gauges(service: ServiceProcess) -> list[float]:
    names = ("greeters_sum", "longest_name", "shortest_name", "latest_name")
    return [one_value(service, name) for name in names]


@with_workers
def test_own_metrics_are_right_over_workers_that_come_and_go(launcher: Launcher) -> None:
    service = launcher.start()
    wait_until(lambda: len(samples(service.metrics(), "process_threads")) == 2)
    first, second = service.workers()
    for stopped in (first, second):
        # One worker would take every request of a light load, so the other is stopped meanwhile.
        os.kill(stopped, signal.SIGSTOP)
        wait_until(lambda stopped=stopped: is_stopped(stopped))  # type: ignore[misc]
        greet(service, 5)
        os.kill(stopped, signal.SIGCONT)
    assert one_value(service, "greetings_total") == 10
    assert one_value(service, "name_characters_count") == 10
    # Each worker has set its gauges; the sum has both, and the others one.
    assert gauges(service) == [2, 5, 5, 5]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(service.workers()) == 2 and first not in service.workers())
    wait_until(lambda: len(samples(service.metrics(), "process_threads")) == 2)
    assert gauges(service) == [1, 5, 5, 5]
    assert one_value(service, "greetings_total") == 10
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: len(service.workers()) == 2 and second not in service.workers())
    wait_until(lambda: len(samples(service.metrics(), "process_threads")) == 2)
    assert gauges(service) == [-1, -1, -1, -1]
    assert one_value(service, "greetings_total") == 10
    greet(service, 3)
    assert one_value(service, "greetings_total") == 13
    assert not [*Path(service.directory).glob("*-metrics-*/new*")]


def test_own_metrics_are_counted_by_each_server(launcher: Launcher) -> None:
    service = launcher.start()
    greet(service, 4)
    assert one_value(service, "greetings_total") == 4

"""The metrics: right in one process, and summed over workers that come and go."""

# <% if cookiecutter.wsgi_server != "waitress" %>
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from webtest import TestApp

from .connection import connect
from .service import ROOT, Service, application, free_port, started, workers_of
# <% else %>
import re
from collections.abc import Iterator

import pytest
from webtest import TestApp

from .service import application
# <% endif %>

ADMIN = "a" * 40
HEADERS = {"Authorization": f"Bearer {ADMIN}"}
COUNT = "http_server_request_duration_seconds_count"


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "ADMIN_TOKEN": f"{'b' * 40}, {ADMIN}", "LOG_LEVEL": "ERROR"}


@pytest.fixture
def here(environ: dict[str, str]) -> Iterator[TestApp]:
    """A client of an application in this process."""
    with application(environ) as app:
        yield TestApp(app, lint=False)  # which refuses the methods made up here


def read(text: str, name: str, **labels: str) -> dict[str, float]:
    """Return the samples of that name that have these labels, by their whole line."""
    lines = [line for line in text.splitlines() if re.match(name + "[{ ]", line)]
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    chosen = [line for line in lines if all(label in line for label in wanted)]
    return {line: float(line.rsplit(" ", 1)[1]) for line in chosen}


def metrics(here: TestApp) -> str:
    text: str = here.get("/metrics", headers=HEADERS).text
    return text


def test_a_token_is_asked_for(here: TestApp) -> None:
    response = here.get("/metrics", headers=HEADERS)
    assert response.content_type == "text/plain"
    here.get("/metrics", status=401)
    here.get("/metrics", headers={"Authorization": "Bearer wrong"}, status=401)


def test_without_a_token_there_are_none(environ: dict[str, str]) -> None:
    with application({**environ, "ADMIN_TOKEN": ""}) as app:
        response = TestApp(app).get("/metrics", headers=HEADERS, status=404)
        assert response.json["detail"] == "There is nothing at this address."


def test_what_is_counted(here: TestApp) -> None:
    for _ in range(3):
        here.get("/livez")
    here.request("/livez", method="BREW", status=405)
    labels = {
        "http_route": "/livez",
        "http_request_method": "GET",
        "http_response_status_code": "200",
    }
    assert list(read(metrics(here), COUNT, **labels).values()) == [3]
    assert list(read(metrics(here), COUNT, http_request_method="_OTHER").values()) == [1]
    assert list(read(metrics(here), "http_server_active_requests").values()) == [1]
    for name in ("process_resident_memory_bytes", "process_open_fds", "process_threads"):
        (value,) = read(metrics(here), name, worker="0").values()
        assert value > 0


def test_paths_make_no_series(here: TestApp) -> None:
    metrics(here)
    before = len(metrics(here).splitlines())
    here.get("/nothing/first", status=404)
    grown = len(metrics(here).splitlines())
    for i in range(50):
        here.get(f"/nothing/{i}", status=404)
        here.request(f"/nothing/{i}", method=f"M{i}", status=404)
    assert len(metrics(here).splitlines()) <= grown + (grown - before)
# <% if cookiecutter.wsgi_server != "waitress" %>


# One worker counts; another is killed when it has just opened its first file.
KILLED = """
import pathlib
import sys
from {{ cookiecutter.package_name }}.telemetry import metrics, workers

def killed(path):
    pathlib.Path(path).touch()
    raise SystemExit

counting = metrics.Metrics()
workers.MmapedDict = killed
try:
    workers.Worker(sys.argv[1])
except SystemExit:
    print(counting.exposition().decode())
"""


def test_a_worker_killed_at_its_start_breaks_no_reader(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path],
        cwd=ROOT / "src", env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert "http_server_active_requests 0.0" in done.stdout, done.stderr


def ask(service: Service, path: str) -> str:
    connection = connect(service.address)
    connection.request("GET", path, headers=HEADERS)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    assert response.status == 200
    return text


@pytest.mark.live
def test_workers_count_together_and_when_replaced(environ: dict[str, str], tmp_path: Path) -> None:
    environ["TMPDIR"] = str(tmp_path)
    with started(environ, f"http://127.0.0.1:{free_port()}", tmp_path / "log") as service:

        def counted() -> float:
            return sum(read(ask(service, "/metrics"), COUNT, http_route="/livez").values())

        def until_there_are(count: int) -> None:
            for _ in range(200):
                try:
                    if len(read(ask(service, "/metrics"), "process_threads")) == count:
                        return
                except OSError:
                    pass
                time.sleep(0.05)
            raise AssertionError(f"there never were {count} workers")

        until_there_are(2)
        before = counted()
        for worker in workers_of(service):
            # One worker would take every request of a light load, so the other is made to wait.
            os.kill(worker, signal.SIGSTOP)
            threads = list(Path(f"/proc/{worker}/task").glob("*/stat"))
            while any(") T " not in thread.read_text() for thread in threads):
                time.sleep(0.01)  # or one takes a request with it
            for _ in range(10):
                ask(service, "/livez")
            os.kill(worker, signal.SIGCONT)
        assert counted() == before + 20
        for worker in workers_of(service):
            os.kill(worker, signal.SIGKILL)
            time.sleep(0.2)
        until_there_are(2)
        for _ in range(10):
            ask(service, "/livez")
        assert counted() == before + 30
        text = ask(service, "/metrics")
        assert list(read(text, "http_server_active_requests").values()) == [1]
        assert len(read(text, "process_threads")) == 2
        # Four kinds of each of the two: not of the workers that have gone.
        assert len(list(tmp_path.glob("*-metrics-*/*.db"))) == 8
# <% endif %>

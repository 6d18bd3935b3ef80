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
# <% if cookiecutter.wsgi_server != "waitress" %>
STOPS = (signal.SIGKILL, signal.SIGTERM)
# <% endif %>
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
workers.Counts = killed
try:
    workers.Worker(sys.argv[1])
except SystemExit:
    print(counting.exposition().decode())
"""


def counted(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a script that counts in the directory, as a worker does."""
    return subprocess.run(
        [sys.executable, "-c", script, directory],
        cwd=ROOT / "src", env={"PROMETHEUS_MULTIPROC_DIR": str(directory)},
        check=False, capture_output=True, text=True,
    )  # fmt: skip


def test_a_worker_killed_at_its_start_breaks_no_reader(tmp_path: Path) -> None:
    done = counted(KILLED, tmp_path)
    assert "http_server_active_requests 0.0" in done.stdout, done.stderr


# A worker counts what its file has room for, and then what it has counted before. A limit stands for
# a full disk.
FULL = """
import os
import resource
import sys
from pathlib import Path
from types import SimpleNamespace
from {{ cookiecutter.package_name }}.telemetry import metrics

counting = metrics.Metrics()
resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, 2**18))

def count(status):
    exchange = SimpleNamespace(environ={"REQUEST_METHOD": "GET"}, status=status, seconds=0.1)
    counting.begin()
    counting.end(exchange)

def has_hole(path):
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        return size and file.seek(0, os.SEEK_HOLE) < size

try:
    for status in range(200, 600):
        count(status)
        assert not [*filter(has_hole, Path(sys.argv[1]).iterdir())]
except OSError:
    count(200)
    print(counting.exposition().decode())
"""


def test_a_full_disk_kills_no_worker(tmp_path: Path) -> None:
    """Its files have no holes: one would kill whoever writes there when the disk is full."""
    done = counted(FULL, tmp_path)
    labels = {"http_response_status_code": "200"}
    assert list(read(done.stdout, COUNT, **labels).values()) == [2], done.stderr


def ask(service: Service, path: str) -> str:
    connection = connect(service.address)
    connection.request("GET", path, headers=HEADERS)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    assert response.status == 200
    return text


def counting_in(service: Service) -> list[str]:
    """Return the directories of the counts that the service has (proc(5))."""
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in workers_of(service))
    return [*set(re.findall(r"/\S*-metrics-[^/]*(?=/)", maps))]


@pytest.mark.live
def test_counts_are_in_memory_and_end_with_the_server(service: Service) -> None:
    """A slow or full disk stops no worker."""
    (directory,) = counting_in(service)
    assert directory.startswith("/dev/shm/")  # noqa: S108
    service.stop()
    assert not until_gone(Path(directory))


@pytest.mark.live
def test_counts_are_where_it_is_told_to_and_end_if_it_cannot_listen(
    environ: dict[str, str], tmp_path: Path
) -> None:
    environ["TMPDIR"] = str(tmp_path)
    place = f"http://127.0.0.1:{free_port()}"
    with started(environ, place, tmp_path / "log") as service:
        (directory,) = counting_in(service)
        assert Path(directory).parent == tmp_path
        second = Service(environ, place, tmp_path / "second")
        assert second.process.wait(timeout=20)
        assert not until_gone(*{*tmp_path.glob("*-metrics-*")} - {Path(directory)})


def until_gone(*paths: Path) -> list[Path]:
    """Return which are still there after a while."""
    ends = time.monotonic() + 5
    while (left := [path for path in paths if path.exists()]) and time.monotonic() < ends:
        time.sleep(0.1)
    return left


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
        for worker, number in zip(workers_of(service), STOPS, strict=True):
            os.kill(worker, number)
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

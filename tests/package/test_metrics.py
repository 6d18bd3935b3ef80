"""Metrics: requests of one process, and files that neither a crash nor a full disk breaks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from webtest import TestApp

from . import SOURCES, TEMPLATE
from .exposition import COUNT, samples
from .sample.app import create_app
from .sample.settings import Settings
from .tokens import ADMIN_TOKEN

HEADERS = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


def metrics_of(client: TestApp) -> str:
    text: str = client.get("/metrics", headers=HEADERS).text
    return text


def test_metrics_require_the_admin_token(sample_client: TestApp) -> None:
    assert sample_client.get("/metrics", headers=HEADERS).content_type == "text/plain"
    sample_client.get("/metrics", status=401)
    sample_client.get("/metrics", headers={"Authorization": "Bearer wrong"}, status=401)


def test_metrics_are_404_without_admin_token(environ: dict[str, str]) -> None:
    app = create_app(Settings.load({**environ, "ADMIN_TOKEN": ""}))
    response = TestApp(app).get("/metrics", headers=HEADERS, status=404)
    assert response.json["detail"] == "There is nothing at this address."
    app.close()


def test_requests_are_counted_by_method_route_and_status(sample_client: TestApp) -> None:
    for _ in range(3):
        sample_client.get("/livez")
    sample_client.request("/livez", method="BREW", status=405)
    labels = {
        "http_route": "/livez",
        "http_request_method": "GET",
        "http_response_status_code": "200",
    }
    text = metrics_of(sample_client)
    assert list(samples(text, COUNT, **labels).values()) == [3]
    assert list(samples(text, COUNT, http_request_method="_OTHER").values()) == [1]
    assert list(samples(text, "http_server_active_requests").values()) == [1]


@pytest.mark.parametrize(
    "name", ["process_resident_memory_bytes", "process_open_fds", "process_threads"]
)
def test_use_of_the_host_is_measured(sample_client: TestApp, name: str) -> None:
    (value,) = samples(metrics_of(sample_client), name, worker="0").values()
    assert value > 0


def test_paths_create_no_series(sample_client: TestApp) -> None:
    metrics_of(sample_client)
    before = len(metrics_of(sample_client).splitlines())
    sample_client.get("/nothing/first", status=404)
    grown = len(metrics_of(sample_client).splitlines())
    for i in range(50):
        sample_client.get(f"/nothing/{i}", status=404)
        sample_client.request(f"/nothing/{i}", method=f"M{i}", status=404)
    assert len(metrics_of(sample_client).splitlines()) <= grown + (grown - before)


# Files of several workers


def run(program: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that counts in the directory, as a worker does."""
    return subprocess.run(
        [sys.executable, "-B", "-m", f"tests.package.programs.{program}", directory],
        cwd=TEMPLATE, env={"PROMETHEUS_MULTIPROC_DIR": str(directory), "SERVE_NAME": "sample"},
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_worker_killed_at_its_start_breaks_no_reader(tmp_path: Path) -> None:
    done = run("killed_worker", tmp_path)
    assert "http_server_active_requests 0.0" in done.stdout, done.stderr


def test_full_disk_kills_no_worker(tmp_path: Path) -> None:
    """A hole in a file would kill the worker that writes there while the disk is full."""
    done = run("full_disk", tmp_path)
    labels = {"http_response_status_code": "200"}
    assert list(samples(done.stdout, COUNT, **labels).values()) == [2], done.stderr


@pytest.mark.parametrize("command", ["check", "routes"])
def test_directory_of_another_program_is_ignored(tmp_path: Path, command: str) -> None:
    """prometheus_client's variable may name a directory that is gone or not writable."""
    done = subprocess.run(
        [sys.executable, "-B", "-m", "tests.package.sample", command],
        cwd=TEMPLATE,
        env={
            "PYTHONPATH": str(SOURCES),
            "APP_ENV": "test",
            "API_TOKENS": "me:token",
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "gone"),
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_metrics_directory_is_in_memory_unless_tmpdir_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bottle_service.telemetry.worker_slots import make_metrics_directory

    monkeypatch.delenv("TMPDIR", raising=False)
    in_memory = Path(make_metrics_directory("sample"))
    assert re.fullmatch(r"/dev/shm/sample-metrics-\w+", str(in_memory))  # noqa: S108
    in_memory.rmdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert Path(make_metrics_directory("sample")).parent == tmp_path

"""Gunicorn: settings that replace its defaults, and hooks that correct its behaviour."""

import json
import time
from contextlib import closing, suppress
from http.client import HTTPResponse
from pathlib import Path

import pytest

from .running_service import Launcher, ServiceProcess, wait_until
from .server_selection import with_gunicorn

pytestmark = with_gunicorn


def files_of(process: int) -> list[Path]:
    files = []
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            files.append(descriptor.readlink())
    return files


def test_heartbeat_files_are_in_memory(shared_service: ServiceProcess) -> None:
    for worker in shared_service.workers():
        assert any(file.is_relative_to("/dev/shm") for file in files_of(worker))  # noqa: S108


def test_no_control_socket_is_created(launcher: Launcher, tmp_path: Path) -> None:
    launcher.start(HOME=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path))
    time.sleep(0.5)  # Gunicorn would create it in a thread
    assert not [*tmp_path.rglob("*")]


def test_log_lines_are_not_duplicated(service: ServiceProcess) -> None:
    service.stop()
    lines = service.log().splitlines()
    assert len(lines) == len(set(lines))
    own = [record for record in service.log_records() if record["log.logger"] == "gunicorn.error"]
    assert service.process.pid in {record["process.pid"] for record in own}


def test_headers_of_a_proxy_are_not_trusted(shared_service: ServiceProcess) -> None:
    """Gunicorn trusts them by default, over a unix socket and from this host."""
    headers = {"SCRIPT_NAME": "/livez", "X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"}
    assert shared_service.get("/livez", headers)[0] == 200


def test_malformed_request_gets_a_problem(shared_service: ServiceProcess) -> None:
    with closing(shared_service.connect()) as connection:
        channel = connection.sock
        channel.sendall(b"GET / HTTP/1.1\r\nHost: a b\x01\r\n\r\n")
        response = HTTPResponse(channel)
        response.begin()
        assert response.status == 400
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.headers["Connection"] == "close"
        assert json.loads(response.read())["status"] == 400


def test_environment_does_not_override_the_configuration(launcher: Launcher) -> None:
    service = launcher.start(GUNICORN_CMD_ARGS="--workers 5", WEB_CONCURRENCY="1")
    time.sleep(0.5)
    assert len(service.workers()) == 1


@pytest.mark.parametrize("moment", ["slow_fork", "slow_boot"])
def test_worker_stops_during_its_start(launcher: Launcher, moment: str) -> None:
    """Otherwise it would run until it is killed."""
    service = launcher.start(wait=False, sitecustomize=moment, WEB_CONCURRENCY="1")
    wait_until(lambda: service.is_running and service.workers())
    time.sleep(0.5)
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 20


def test_worker_closes_connections_after_its_master_was_killed(service: ServiceProcess) -> None:
    """Its responses announce it, because it would drop later requests of a connection."""

    def is_kept_open() -> bool:
        connection.request("GET", "/livez")
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        return response.headers["Connection"] != "close"

    with closing(service.connect()) as connection:
        assert is_kept_open()
        service.process.kill()
        wait_until(lambda: not is_kept_open())


def test_gevent_worker_handles_more_requests_than_threads(launcher: Launcher) -> None:
    service = launcher.start(WORKER_CLASS="gevent", WEB_CONCURRENCY="1", WEB_THREADS="2")
    requests = [service.open_partial_request() for _ in range(50)]
    assert service.get("/livez")[0] == 200
    for request in requests:
        request.complete()
    assert service.stop() == 0
    assert {record["log.level"] for record in service.log_records()} == {"info"}

"""The started server where it is Gunicorn: what it does otherwise by itself."""

import json
import time
from contextlib import closing, suppress
from http.client import HTTPResponse
from pathlib import Path

import pytest

from .connection import connect
from .service import ANSWERED, BODY, ROOT, Service, free_port, guarded, started, workers_of

pytestmark = pytest.mark.live

# Before a worker has been made its own, and before it has its own handlers.
FORKED = "os.register_at_fork(after_in_child=lambda: time.sleep(2))"
BEGUN = "gunicorn.util.seed = lambda: time.sleep(2)"


def test_gunicorns_own(environ: dict[str, str], place: str, tmp_path: Path) -> None:
    """Heartbeats are files in memory, it cannot be asked itself, and its lines are told once."""
    environ |= {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    with started(environ, place, tmp_path / "log") as service:
        for worker in workers_of(service):
            files = []
            for descriptor in Path(f"/proc/{worker}/fd").iterdir():
                with suppress(FileNotFoundError):  # closed meanwhile
                    files.append(descriptor.readlink())
            assert any(file.is_relative_to("/dev/shm") for file in files)  # noqa: S108
        assert not [*tmp_path.rglob("*.ctl")]
    lines = service.log().splitlines()
    assert len(lines) == len(set(lines))
    own = [line for line in service.lines() if line["log.logger"] == "gunicorn.error"]
    assert service.process.pid in {line["process.pid"] for line in own}


def test_gunicorn_believes_no_header(service: Service) -> None:
    """Over a unix socket, and from this host, it would by itself."""
    headers = {"SCRIPT_NAME": "/livez", "X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"}
    assert service.get("/livez", headers)[0] == 200


def test_gunicorns_refusals_are_problems(service: Service) -> None:
    channel = connect(service.address).sock
    channel.sendall(b"GET / HTTP/1.1\r\nHost: a b\x01\r\n\r\n")
    response = HTTPResponse(channel)
    response.begin()
    assert response.status == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Connection"] == "close"
    assert json.loads(response.read())["status"] == 400
    channel.close()


@pytest.mark.parametrize("late", [FORKED, BEGUN])
def test_it_ends_while_it_forks(
    environ: dict[str, str], place: str, tmp_path: Path, late: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import os, time, gunicorn.util\n{late}\n")
    environ |= {"PYTHONPATH": f"{ROOT}/src:{tmp_path}", "WEB_CONCURRENCY": "1"}
    service = Service(environ, place, tmp_path / "log")
    while not workers_of(service):
        assert service.process.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 20


def test_a_worker_whose_master_was_killed_keeps_no_connection(
    environ: dict[str, str], place: str, tmp_path: Path
) -> None:
    """It says so in its answers: at its end it would drop what comes on one."""

    def kept() -> bool:
        connection.request("GET", "/livez")
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        return response.headers["Connection"] != "close"

    environ["TMPDIR"] = str(tmp_path)  # where a master that is killed leaves its counts
    with (
        started(environ, place, tmp_path / "log") as service,
        closing(connect(service.address)) as connection,
    ):
        assert kept()
        service.process.kill()
        ends = time.monotonic() + 20
        while kept():
            assert time.monotonic() < ends
            time.sleep(0.1)


@guarded
def test_gevent_answers_more_than_it_has_threads(environ: dict[str, str], tmp_path: Path) -> None:
    environ |= {"WORKER_CLASS": "gevent", "WEB_CONCURRENCY": "1", "WEB_THREADS": "2"}
    with started(environ, f"http://127.0.0.1:{free_port()}", tmp_path / "log") as service:
        waiting = [service.half_a_request() for _ in range(50)]
        assert service.get("/livez")[0] == 200
        for connection in waiting:
            connection.send(BODY[5:])
        assert {connection.getresponse().status for connection in waiting} <= ANSWERED
        for connection in waiting:
            connection.close()
        assert service.stop() == 0
    lines = service.lines()
    assert {line["log.level"] for line in lines} == {"info"}

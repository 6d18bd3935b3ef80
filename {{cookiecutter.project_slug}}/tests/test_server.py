"""The started server: that it starts, tells the truth in its log, and ends without a loss."""

import json
# <% if cookiecutter.wsgi_server != "waitress" %>
import os
# <% endif %>
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from .connection import connect
# <% if cookiecutter.wsgi_server != "waitress" %>
from .service import GUARDED, TOKEN, Service, free_port, guarded, started, workers_of
# <% else %>
from .service import GUARDED, TOKEN, Service, free_port, guarded, started
# <% endif %>

BODY = b'{"{{ 'title' if cookiecutter.database != 'none' else 'name' }}": "x"}'
# What reads another JSON has read all of it to say so.
ANSWERED = {200, 201, 202, 204, 422}


pytestmark = pytest.mark.live


@pytest.fixture
# <% if cookiecutter.wsgi_server == "uwsgi" %>
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"unix:{tmp_path_factory.mktemp('s')}/socket"  # a socket's path is a short one
# <% else %>
def place() -> str:
    return f"http://127.0.0.1:{free_port()}"
# <% endif %>


@pytest.fixture
def service(environ: dict[str, str], place: str, tmp_path: Path) -> Iterator[Service]:
    with started(environ, place, tmp_path / "log") as service:
        yield service


def answer(service: Service, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    connection = connect(service.address)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, json.loads(body)


def half_a_request(service: Service) -> HTTPConnection:
    connection = connect(service.address)
    connection.putrequest("POST", GUARDED)
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(BODY)))
    connection.endheaders(BODY[:5])
    return connection


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_asked(service: Service, number: signal.Signals) -> None:
    assert service.stop(number) == 0
    # Gunicorn's fast stop meets a worker that is still importing: Python tells that as ignored.
    told = re.sub(r"Exception ignored in.*?SystemExit: 0", "", service.log(), flags=re.DOTALL)
    assert "Traceback" not in told
    with pytest.raises(ConnectionRefusedError):
        connect(service.address).request("GET", "/livez")


@guarded
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_answered(service: Service, number: signal.Signals) -> None:
    connection = half_a_request(service)
    time.sleep(0.3)
    stopped = threading.Thread(target=service.stop, args=[number])
    stopped.start()
    time.sleep(1.5)
    connection.send(BODY[5:])
    assert connection.getresponse().status in ANSWERED
    connection.close()
    stopped.join()
    assert service.process.returncode == 0


def test_every_log_line_is_json(service: Service) -> None:
    secret = "/livez?token=secret"
    status, _ = answer(
        service, secret, {"User-Agent": 'q"\\ caf\xe9', "X-Request-ID": "a-given-id"}
    )
    assert status == 200
    answer(service, "/api/v1/nothing", {"Authorization": f"Bearer {TOKEN}"})
    answer(service, "/caf%C3%A9%20%F0%9F%99%82", {})
    # <% if cookiecutter.wsgi_server != "uwsgi" %>
    for sent in (
        b"GET /?token=secret\xff HTTP/1.1",
        b"GET /?token=a secret HTTP/1.1",
        b"GET / HTTP/1.1\r\nAuthorization Bearer secret",
        b'{"password":"secret"} HTTP/1.1',
        b"GET http://[secret]/ HTTP/1.1",
    ):
        malformed = connect(service.address)
        malformed.sock.sendall(sent + b"\r\nHost: a\r\n\r\n")
        assert b" 400 " in malformed.sock.recv(100)
        malformed.close()
    # <% endif %>
    service.stop()
    lines = service.lines()
    assert any(re.search("[Ll]istening|bound to", line["message"]) for line in lines)
    assert {line["service.name"] for line in lines} == {"{{ cookiecutter.project_slug }}"}
    assert "/café 🙂" in [line.get("url.path") for line in lines]
    (line,) = [line for line in lines if line.get("http.request.id") == "a-given-id"]
    assert line["http.request.method"] == "GET"
    assert line["url.path"] == line["http.route"] == "/livez"
    assert line["http.response.status_code"] == 200
    assert line["client.ip"] == "127.0.0.1"
    assert "secret" not in service.log()
    assert TOKEN not in service.log()


# <% if cookiecutter.wsgi_server != "uwsgi" %>
@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Transfer-Encoding:",
        b"Host: b",
        b"X: a\r\n b",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(service: Service, head: bytes) -> None:
    channel = connect(service.address).sock
    channel.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n0\r\n\r\n")
    received = b""
    while chunk := channel.recv(1000):
        received += chunk
    channel.close()
    assert re.findall(rb"^HTTP/1.1 (\d+)", received, re.MULTILINE) in ([b"400"], [b"501"])


# <% endif %>
def test_the_client_is_whom_our_proxy_names(service: Service) -> None:
    headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Request-ID": "forwarded-for"}
    answer(service, "/livez", headers)
    service.stop()
    lines = service.lines()
    (line,) = [line for line in lines if line.get("http.request.id") == "forwarded-for"]
    assert line["client.ip"] == "203.0.113.9"


@pytest.fixture
def systemd(environ: dict[str, str], tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens on for sd_notify(3), with a watchdog of 0.8 s."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(20)
        environ |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "800000"}
        yield channel


def test_systemd_is_told_that_it_answers(systemd: socket.socket, service: Service) -> None:
    assert systemd.recv(100) == b"READY=1"
    assert {systemd.recv(100) for _ in range(5)} == {b"WATCHDOG=1"}


def test_an_inherited_socket_wins(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "held.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        service = Service(environ, f"unix:{tmp_path}/other.sock", tmp_path / "log", listener)
        service.address = f"unix:{path}"
        try:
            service.wait_until_ready()
        finally:
            service.stop()
    assert not (tmp_path / "other.sock").exists()
    assert path.exists()
# <% if cookiecutter.wsgi_server != "waitress" %>


def listen(systemd: socket.socket, times: int) -> None:
    for _ in range(times):
        systemd.recv(100)


def test_systemd_is_not_told_while_it_hangs(systemd: socket.socket, service: Service) -> None:
    assert systemd.recv(100) == b"READY=1"
    for worker in workers_of(service):
        os.kill(worker, signal.SIGSTOP)
    systemd.settimeout(1)
    with pytest.raises(TimeoutError):
        listen(systemd, times=100)  # to what was answered before
    systemd.settimeout(20)
    for worker in workers_of(service):
        os.kill(worker, signal.SIGCONT)
    assert systemd.recv(100) == b"WATCHDOG=1"


@guarded
def test_a_worker_outlives_its_master_to_answer(
    environ: dict[str, str], place: str, tmp_path: Path
) -> None:
    environ["TMPDIR"] = str(tmp_path)  # where a master that is killed leaves its counts
    with started(environ, place, tmp_path / "log") as service:
        connection = half_a_request(service)
        time.sleep(1)
        workers = [Path(f"/proc/{worker}/cmdline") for worker in workers_of(service)]
        service.process.kill()
        service.process.wait()
        time.sleep(1.5)
        connection.send(BODY[5:])
        assert connection.getresponse().status in ANSWERED
        connection.close()
    ends = time.monotonic() + 60  # as TimeoutStopSec
    while any(worker.exists() and worker.read_bytes() for worker in workers):
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_a_reload_reads_the_settings_anew(environ: dict[str, str], tmp_path: Path) -> None:
    def allowed(service: Service) -> str:
        connection = connect(service.address)
        connection.request("GET", "/livez", headers={"Origin": "https://b.example"})
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.status == 200
        return response.headers.get("Access-Control-Allow-Origin", "")

    environ["WEB_CONCURRENCY"] = "1"
    file = tmp_path / ".env"
    file.write_text("CORS_ORIGINS=https://a.example\nLOG_LEVEL=INFO\n")
    with started(environ, f"http://127.0.0.1:{free_port()}", tmp_path / "log") as service:
        assert allowed(service) == ""
        file.write_text("CORS_ORIGINS=https://b.example\nLOG_LEVEL=ERROR\n")
        before = set(workers_of(service))
        service.process.send_signal(signal.SIGHUP)
        ends = time.monotonic() + 20
        while before & set(workers_of(service)):
            assert allowed(service) in ("", "https://b.example")
            assert time.monotonic() < ends
        read = len(service.log())
        assert allowed(service) == "https://b.example"
        assert "/livez" not in service.log()[read:]
# <% endif %>
# <% if cookiecutter.wsgi_server == "gunicorn" %>


@guarded
def test_gevent_answers_more_than_it_has_threads(environ: dict[str, str], tmp_path: Path) -> None:
    environ |= {"WORKER_CLASS": "gevent", "WEB_CONCURRENCY": "1", "WEB_THREADS": "2"}
    with started(environ, f"http://127.0.0.1:{free_port()}", tmp_path / "log") as service:
        waiting = [half_a_request(service) for _ in range(50)]
        assert answer(service, "/livez", {})[0] == 200
        for connection in waiting:
            connection.send(BODY[5:])
        assert {connection.getresponse().status for connection in waiting} <= ANSWERED
        for connection in waiting:
            connection.close()
        assert service.stop() == 0
    lines = service.lines()
    assert {line["log.level"] for line in lines} == {"info"}
# <% endif %>

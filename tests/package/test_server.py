"""The started server: that it starts, tells the truth in its log, and ends without a loss."""

import re
import signal
import threading
import time
from pathlib import Path

import pytest

from .connection import connect
# <% if cookiecutter.wsgi_server == "waitress" %>
from .service import ANSWERED, BODY, ROOT, TOKEN, Service, guarded, started
# <% else %>
from .service import ANSWERED, BODY, ROOT, TOKEN, Service, free_port, guarded, started, workers_of
# <% endif %>

pytestmark = pytest.mark.live


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_asked(service: Service, number: signal.Signals) -> None:
    began = time.monotonic()
    assert service.stop(number) == 0
    assert time.monotonic() - began < 30  # nobody is waited for
    # Gunicorn's fast stop meets a worker that is still importing: Python tells that as ignored.
    told = re.sub(r"Exception ignored in.*?SystemExit: 0", "", service.log(), flags=re.DOTALL)
    assert "Traceback" not in told
    with pytest.raises(ConnectionRefusedError):
        connect(service.address).request("GET", "/livez")


# Python reads this before all else.
CLOSED = """
import os
from bottle import Bottle

def close(app):
    with open(os.environ["CLOSED"], "a") as closed:
        print(os.getpid(), file=closed)

Bottle.close = close
"""


def test_the_application_is_closed(environ: dict[str, str], place: str, tmp_path: Path) -> None:
    """Once in each process that serves."""
    (tmp_path / "sitecustomize.py").write_text(CLOSED)
    closed = tmp_path / "closed"
    environ |= {"PYTHONPATH": f"{ROOT}/src:{tmp_path}", "CLOSED": str(closed)}
    environ["WEB_CONCURRENCY"] = "1"  # of several one may not have loaded it yet
    with started(environ, place, tmp_path / "log") as service:
        # <% if cookiecutter.wsgi_server == "waitress" %>
        serving = [service.process.pid]
        # <% else %>
        serving = workers_of(service)
        # <% endif %>
        assert not closed.exists()
        assert service.stop() == 0
    assert sorted(map(int, closed.read_text().split())) == sorted(serving)


def test_a_unix_socket_is_for_the_group(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with started(environ, f"unix:{path}", tmp_path / "log"):
        assert path.stat().st_mode & 0o666 == 0o660


@guarded
def test_a_slow_client_holds_one_thread(
    environ: dict[str, str], place: str, tmp_path: Path
) -> None:
    environ |= {"WEB_CONCURRENCY": "1", "WEB_THREADS": "2"}
    with started(environ, place, tmp_path / "log") as service:
        connection = service.half_a_request()
        time.sleep(0.3)
        assert service.get("/livez")[0] == 200
        connection.send(BODY[5:])
        assert connection.getresponse().status in ANSWERED
        connection.close()


def test_a_client_that_has_gone_is_no_error(service: Service) -> None:
    for _ in range(20):
        connection = connect(service.address)
        connection.request("GET", "/readyz")
        connection.close()
    time.sleep(0.3)
    service.stop()
    assert {line["log.level"] for line in service.lines()} == {"info"}
    assert not re.search("broken pipe|sigpipe|write error", service.log(), re.IGNORECASE)


def test_the_log_can_be_text(environ: dict[str, str], place: str, tmp_path: Path) -> None:
    environ["LOG_FORMAT"] = "text"
    with started(environ, place, tmp_path / "log") as service:
        assert "/livez" in service.log()
        assert service.stop() == 0
    assert not [line for line in service.log().splitlines() if line.startswith("{")]


@guarded
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_answered(service: Service, number: signal.Signals) -> None:
    connection = service.half_a_request()
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
    headers = {"User-Agent": 'q"\\ caf\xe9', "X-Request-ID": "a-given-id"}
    status, _ = service.get(secret, headers)
    assert status == 200
    service.get("/api/v1/nothing", {"Authorization": f"Bearer {TOKEN}"})
    service.get("/caf%C3%A9%20%F0%9F%99%82")
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
    always = {"@timestamp", "log.level", "log.logger", "message"}
    assert all(always <= line.keys() for line in lines)
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
    service.get("/livez", headers)
    service.stop()
    lines = service.lines()
    (line,) = [line for line in lines if line.get("http.request.id") == "forwarded-for"]
    assert line["client.ip"] == "203.0.113.9"
# <% if cookiecutter.wsgi_server != "waitress" %>


@guarded
def test_a_worker_outlives_its_master_to_answer(
    environ: dict[str, str], place: str, tmp_path: Path
) -> None:
    # Where a master that is killed leaves its counts; and no thread needs another one to start.
    environ |= {"TMPDIR": str(tmp_path), "WEB_CONCURRENCY": "2", "WEB_THREADS": "1"}
    with started(environ, place, tmp_path / "log") as service:
        connection = service.half_a_request()
        time.sleep(1)
        workers = [Path(f"/proc/{worker}/cmdline") for worker in workers_of(service)]
        assert len(workers) == 2
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

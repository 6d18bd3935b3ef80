"""Each started server: its start, its log, its stop without a lost request, and its reload."""

import re
import signal
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress
from http.client import IncompleteRead
from pathlib import Path

import pytest

from .running_service import Launcher, ServiceProcess, assemble, launcher_of, wait_until
from .server_selection import with_http, with_workers
from .tokens import TOKEN

stop_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


# Start and requests


def test_unix_socket_is_for_owner_and_group(launcher: Launcher) -> None:
    path = launcher.directory / "socket"
    launcher.start(f"unix:{path}")
    assert path.stat().st_mode & 0o666 == 0o660


def test_slow_client_occupies_one_thread(launcher: Launcher) -> None:
    service = launcher.start(WEB_CONCURRENCY="1", WEB_THREADS="2")
    request = service.open_partial_request()
    time.sleep(0.3)
    assert service.get("/livez")[0] == 200
    request.complete()


def test_client_address_is_that_of_the_trusted_proxy(shared_service: ServiceProcess) -> None:
    headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Request-ID": "forwarded-for"}
    shared_service.get("/livez", headers)
    (record,) = records_of(shared_service, "forwarded-for")
    assert record["client.ip"] == "203.0.113.9"


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_body_that_is_not_read_does_not_reset_the_connection(
    shared_service: ServiceProcess, connection: str
) -> None:
    """A client that still sends would not receive the response: Nginx would respond with 502."""
    with closing(shared_service.connect()) as client:
        client.putrequest("POST", "/greetings")
        client.putheader("Connection", connection)
        client.putheader("Content-Length", "400000")
        client.endheaders(b"x" * 1000)
        for _ in range(3):
            time.sleep(0.2)
            client.send(b"x" * 133_000)
        assert client.getresponse().status == 401


@with_http
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
def test_ambiguous_request_is_rejected(shared_service: ServiceProcess, head: bytes) -> None:
    with closing(shared_service.connect()) as connection:
        channel = connection.sock
        channel.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n0\r\n\r\n")
        received = b""
        while chunk := channel.recv(1000):
            received += chunk
    assert re.findall(rb"^HTTP/1.1 (\d+)", received, re.MULTILINE) in ([b"400"], [b"501"])
    assert b"Content-Type: application/problem+json" in received


@pytest.mark.parametrize("path", ["/broken-chunks", "/broken-file"])
def test_stream_that_fails_does_not_look_complete(service: ServiceProcess, path: str) -> None:
    with closing(service.connect()) as connection:
        connection.sock.settimeout(2)
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        with pytest.raises((IncompleteRead, ConnectionError, TimeoutError)):
            response.read()


def test_response_to_head_has_no_body(shared_service: ServiceProcess) -> None:
    """Not even the end of a chunked one: RFC 9110, section 9.3.2."""
    for path, length in (("/broken-chunks", None), ("/broken-file", b"100"), ("/livez", b"15")):
        with closing(shared_service.connect()) as connection:
            connection.request("HEAD", path, headers={"Connection": "close"})
            received = b""
            while chunk := connection.sock.recv(1000):
                received += chunk
        assert re.match(rb"HTTP/1\.1 200 ", received)
        assert received.partition(b"\r\n\r\n")[2] == b""
        found = re.search(rb"\r\ncontent-length: (\d+)", received, re.IGNORECASE)
        assert (found and found[1]) == length


# Logs


def records_of(service: ServiceProcess, request_id: str) -> list[dict[str, object]]:
    """Return the log records of a request, once its line has been written."""

    def found() -> list[dict[str, object]]:
        records = service.log_records()
        return [record for record in records if record.get("http.request.id") == request_id]

    wait_until(found)
    return found()


def test_every_log_line_is_json_without_secrets(service: ServiceProcess) -> None:
    headers = {"User-Agent": 'q"\\ caf\xe9', "X-Request-ID": "the-request"}
    assert service.get("/livez?token=secret", headers)[0] == 200
    service.get("/api/v1/nothing", {"Authorization": f"Bearer {TOKEN}"})
    service.get("/caf%C3%A9%20%F0%9F%99%82")
    service.stop()
    records = service.log_records()
    assert any(re.search("[Ll]istening|bound to", record["message"]) for record in records)
    always = {"@timestamp", "log.level", "log.logger", "message"}
    assert all(always <= record.keys() for record in records)
    assert {record["service.name"] for record in records} == {"sample-service"}
    assert "/café 🙂" in [record.get("url.path") for record in records]
    (record,) = records_of(service, "the-request")
    assert record["http.request.method"] == "GET"
    assert record["url.path"] == record["http.route"] == "/livez"
    assert record["http.response.status_code"] == 200
    assert record["client.ip"] == "127.0.0.1"
    assert "secret" not in service.log()
    assert TOKEN not in service.log()


@with_http
@pytest.mark.parametrize(
    "sent",
    [
        b"GET /?token=secret\xff HTTP/1.1",
        b"GET /?token=a secret HTTP/1.1",
        b"GET / HTTP/1.1\r\nAuthorization Bearer secret",
        b'{"password":"secret"} HTTP/1.1',
        b"GET http://[secret]/ HTTP/1.1",
    ],
)
def test_malformed_request_is_rejected_and_not_logged(
    shared_service: ServiceProcess, sent: bytes
) -> None:
    with closing(shared_service.connect()) as connection:
        connection.sock.sendall(sent + b"\r\nHost: a\r\n\r\n")
        assert b" 400 " in connection.sock.recv(100)
    # The line of the next request is written after that of the malformed one.
    shared_service.get("/livez")
    assert "secret" not in shared_service.log()
    assert shared_service.log_records()


def test_log_can_be_text(launcher: Launcher) -> None:
    service = launcher.start(LOG_FORMAT="text")
    assert "/livez" in service.log()
    assert service.stop() == 0
    assert not [line for line in service.log().splitlines() if line.startswith("{")]


def test_client_that_disconnects_is_not_an_error(service: ServiceProcess) -> None:
    for _ in range(20):
        with closing(service.connect()) as connection:
            connection.request("GET", "/livez")
    time.sleep(0.3)
    service.stop()
    assert {record["log.level"] for record in service.log_records()} == {"info"}
    assert not re.search("broken pipe|sigpipe|write error", service.log(), re.IGNORECASE)


# Stop


@stop_signals
def test_idle_service_stops_immediately(service: ServiceProcess, number: signal.Signals) -> None:
    began = time.monotonic()
    assert service.stop(number) == 0
    assert time.monotonic() - began < 15
    # Python prints an exit of a worker that is still importing as an ignored exception.
    log = re.sub(r"Exception ignored in.*?SystemExit: 0", "", service.log(), flags=re.DOTALL)
    assert "Traceback" not in log
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        service.connect()


@stop_signals
def test_request_in_flight_is_completed_at_a_stop(
    service: ServiceProcess, number: signal.Signals
) -> None:
    request = service.open_partial_request()
    time.sleep(0.3)
    stopping = threading.Thread(target=service.stop, args=[number])
    stopping.start()
    time.sleep(1.5)
    request.complete()
    stopping.join()
    assert service.process.returncode == 0


def test_event_streams_are_cut_at_a_stop(launcher: Launcher) -> None:
    """The next service starts after the stop, and requests wait for it in the inherited socket."""
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as connections:
        listener.bind(str(launcher.directory / "inherited"))
        listener.listen()
        bind = f"unix:{listener.getsockname()}"
        service = launcher.start(bind, inherited=listener, WEB_THREADS="4")
        streams = []
        for _ in range(2):
            connection = connections.enter_context(closing(service.connect()))
            connection.request("GET", "/events")
            streams.append(connections.enter_context(closing(connection.getresponse())))
            assert streams[-1].read1() == b"data: first\n\n"
        request = service.open_partial_request()
        time.sleep(0.3)
        began = time.monotonic()
        service.process.terminate()
        time.sleep(2)
        request.complete()
        assert service.process.wait(timeout=20) == 0
        assert time.monotonic() - began < 10
        for stream in streams:
            with suppress(IncompleteRead, ConnectionResetError):
                assert stream.read() == b""
        launcher.start(bind, inherited=listener)


def test_application_is_closed_once_in_each_serving_process(
    launcher: Launcher, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    # Another worker might not have loaded the application yet.
    service = launcher.start(sitecustomize="record_close", CLOSED=str(closed), WEB_CONCURRENCY="1")
    serving = service.serving_processes()
    closed.write_text("")  # `serve` closes the application that it has checked
    assert service.stop() == 0
    assert sorted(map(int, closed.read_text().split())) == sorted(serving)


@with_workers
def test_worker_finishes_its_request_after_its_master_was_killed(launcher: Launcher) -> None:
    # With one thread, the response needs no other thread to start.
    service = launcher.start(WEB_CONCURRENCY="2", WEB_THREADS="1")
    request = service.open_partial_request()
    time.sleep(1)
    workers = [Path(f"/proc/{worker}/cmdline") for worker in service.workers()]
    assert len(workers) == 2
    service.process.kill()
    service.process.wait()
    time.sleep(1.5)
    request.complete()
    wait_until(lambda: not any(path.exists() and path.read_bytes() for path in workers), 60)


# Reload


def allowed_origin(service: ServiceProcess) -> str:
    with closing(service.connect()) as connection:
        connection.request("GET", "/livez", headers={"Origin": "https://b.example"})
        response = connection.getresponse()
        response.read()
    assert response.status == 200
    return response.headers.get("Access-Control-Allow-Origin", "")


@with_workers
def test_reload_reads_the_settings_again(launcher: Launcher, tmp_path: Path) -> None:
    file = tmp_path / "service.env"
    file.write_text("CORS_ORIGINS=https://a.example\nLOG_LEVEL=INFO\n")
    service = launcher.start(APP_ENV="production", ENV_FILE=str(file), WEB_CONCURRENCY="1")
    assert allowed_origin(service) == ""
    file.write_text("CORS_ORIGINS=https://b.example\nLOG_LEVEL=ERROR\n")
    before = set(service.workers())
    service.process.send_signal(signal.SIGHUP)

    def is_replaced() -> bool:
        assert allowed_origin(service) in ("", "https://b.example")
        return not before & set(service.workers())

    wait_until(is_replaced)
    read = len(service.log())
    assert allowed_origin(service) == "https://b.example"
    assert "/livez" not in service.log()[read:]


@with_workers
@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_stop_during_a_reload_stops(launcher: Launcher, delay: float) -> None:
    service = launcher.start()
    wait_until(lambda: len(service.workers()) == 2)
    service.process.send_signal(signal.SIGHUP)
    time.sleep(delay)
    assert service.stop(seconds=15) == 0


@pytest.mark.parametrize("line", ['raise RuntimeError("first\\n{second")', "del app"])
@pytest.mark.parametrize(
    ("server", "worker_class"),
    [("gunicorn", "gthread"), ("gunicorn", "gevent"), ("uwsgi", "gthread")],
)
def test_error_of_the_wsgi_module_is_logged_as_json(
    tmp_path: Path, server: str, worker_class: str, line: str
) -> None:
    """Waitress does not import the module."""
    project = assemble(tmp_path)
    module = project / "src/sample/wsgi.py"
    module.write_text(f"{module.read_text()}{line}\n")
    with launcher_of(project, server) as launcher:
        service = launcher.start(wait=False, WORKER_CLASS=worker_class)
        assert service.process.wait(30) != 0
        messages = [record["message"] for record in service.log_records()]
    assert any(re.search("cannot be loaded|unable to load", message) for message in messages)


@pytest.mark.parametrize("server", ["gunicorn", "waitress", "uwsgi"])
def test_exception_of_create_app_is_logged_as_json(tmp_path: Path, server: str) -> None:
    """`serve` creates the application to check it, before any server starts."""
    project = assemble(tmp_path)
    module = project / "src/sample/app.py"
    source = module.read_text()
    module.write_text(re.sub(r"(def create_app\(.*\n)", r"\1    1 / 0\n", source))
    with launcher_of(project, server) as launcher:
        service = launcher.start(wait=False)
        assert service.process.wait(30) != 0
        (record,) = service.log_records()
    assert record["error.type"] == "ZeroDivisionError"
    assert record["log.level"] == "critical"

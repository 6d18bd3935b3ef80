"""docs/how-to/opentelemetry.md and sentry.md, together and alone: a collector and a Sentry on loopback."""

import gzip
import json
import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ..support.fixtures import Generate
from ..support.generate import Answers
from ..support.matrix import LARGEST, SMALLEST
from ..support.process import free_port, run, terminate, wait_until_ready
from .steps import check, follow

DEFAULT: Answers = {"wsgi_server": "gunicorn"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
# None of these may leave the service.
SECRETS = ["secret-query", "secret-cookie", "secret-body", "s" * 32]
HANDLERS = """

def wait() -> str:
    time.sleep(0.2)
    return ""


def fail(x: str, body: dict[str, str]) -> str:
    copy = dict(body)
    raise RuntimeError(f"planted, with {len(copy)} field")
"""
ROUTES = """\
    app.route("/wait", "GET", health.wait)
    app.route("/fail/<x>", "POST", health.fail)
"""


class Receiver(ThreadingHTTPServer):
    """OTLP/HTTP collector and Sentry in one: it keeps the bodies by their path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ReceiverHandler)
        self.received: list[tuple[str, bytes]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def bodies(self, path: str) -> bytes:
        return b"".join(body for at, body in self.received if at == path)


class ReceiverHandler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


def call(url: str, body: str | None = None) -> int:
    request = urllib.request.Request(
        url,
        data=body.encode() if body else None,
        headers={
            "Authorization": f"Bearer {'s' * 32}",
            "Content-Type": "application/json",
            "Cookie": "session=secret-cookie",
            "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("answers", "traces", "errors"),
    [(DEFAULT, True, True), (LARGEST, True, False), (SMALLEST, False, True)],
    ids=["both", "traces", "errors"],
)
def test_spans_and_errors_are_received(
    copied: Generate, answers: Answers, traces: bool, errors: bool, tmp_path: Path
) -> None:
    project = copied(**answers)
    if traces:
        follow(project, "opentelemetry.md")
    if errors:
        follow(project, "sentry.md")
    check(project)
    handlers, table = (
        project / f"src/my_service/routes/{name}.py" for name in ("health", "__init__")
    )
    handlers.write_text(handlers.read_text() + f"\n\nimport time\n{HANDLERS}")
    table.write_text(table.read_text() + ROUTES)
    receiver = Receiver()
    collector = f"127.0.0.1:{receiver.server_port}"
    url = f"http://127.0.0.1:{free_port()}"
    environ = {
        **os.environ,
        "APP_ENV": "development",
        "LOG_FORMAT": "json",
        "BIND": url.removeprefix("http://"),
        "OTLP_ENDPOINT": f"http://{collector}/v1/traces",
        "SENTRY_DSN": f"http://public@{collector}/1",
    }
    command = [str(project / ".venv/bin/python"), "-m", "my_service"]
    if answers.get("database") != "none":
        run(*command, "migrate", cwd=project, **environ)
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        service = subprocess.Popen([*command, "serve"], cwd=project, env=environ, stderr=stderr)
    try:
        wait_until_ready(url)
        # More at a time than the threads of one worker.
        with ThreadPoolExecutor(12) as pool:
            assert set(pool.map(call, [f"{url}/wait?token=secret-query"] * 40)) == {200}
        assert call(f"{url}/fail/17", '{"password": "secret-body"}') == 500
    finally:
        terminate(service)
    spans, events = receiver.bodies("/v1/traces"), receiver.bodies("/api/1/envelope/")
    lines = [json.loads(line) for line in log.read_text().splitlines() if line[0] == "{"]
    (access,) = [line for line in lines if line.get("http.route") == "/fail/<x>"]
    request_id = access["http.request.id"].encode()
    if traces:
        assert b"GET /wait" in spans
        assert b"POST /fail/<x>" in spans
        assert b"/fail/17" not in spans
        assert spans.count(bytes.fromhex(TRACE)) == 41  # also those that waited at the stop
        instances = set(re.findall(rb"service\.instance\.id\x12.\x0a.(\d+)", spans, re.DOTALL))
        assert len(instances) == 2  # workers
        assert access["trace.id"] == TRACE
        assert request_id in spans
    if errors:
        assert b"planted, with 1 field" in events
        assert b'"request_id":"%s"' % request_id in events
    for secret in SECRETS:
        assert secret.encode() not in spans + events, secret

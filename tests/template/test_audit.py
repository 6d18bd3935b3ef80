"""`make audit`, with a fake database that implements OSV's protocol."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ..support.generate import TEMPLATE

KNOWN = {"id": "GHSA-0000-0000-0000", "modified": "2026-01-01T00:00:00Z"}


class Database(BaseHTTPRequestHandler):
    """Fake OSV database with one vulnerability."""

    vulnerable = ""
    requested: set[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        names = [query["package"]["name"] for query in body["queries"]]
        self.requested.update(names)
        found = [{"vulns": [KNOWN]} if name == self.vulnerable else {} for name in names]
        self.respond({"results": found})

    def do_GET(self) -> None:
        self.respond({**KNOWN, "summary": "Made up", "affected": []})

    def respond(self, body: dict[str, object]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def database() -> Iterator[str]:
    Database.vulnerable, Database.requested = "", set()
    with HTTPServer(("127.0.0.1", 0), Database) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def audit(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/audit.py", "--service-url", url]
    return subprocess.run(command, cwd=TEMPLATE, check=False, capture_output=True, text=True)


def test_audit_without_known_vulnerability_passes(database: str) -> None:
    done = audit(database)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pinned, none with a known vulnerability") == 3
    assert {"bottle", "gunicorn", "waitress", "alembic", "webtest", "cruft"} <= Database.requested


def test_audit_with_known_vulnerability_fails(database: str) -> None:
    Database.vulnerable = "waitress"
    done = audit(database)
    assert done.returncode == 1
    assert KNOWN["id"] in done.stdout


def test_audit_without_database_passes_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    done = audit("http://127.0.0.1:9/")
    assert done.returncode == 0
    assert done.stderr.endswith("not audited: the database is unreachable\n")
    assert "none with" not in done.stdout

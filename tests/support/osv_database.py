"""Fake of the OSV database of vulnerabilities, with its protocol."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

KNOWN = {"id": "GHSA-0000-0000-0000", "modified": "2026-01-01T00:00:00Z"}
EVERY_VERSION = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9999"}]}


class Database(BaseHTTPRequestHandler):
    """Fake OSV database with one vulnerability."""

    vulnerable = ""
    requested: set[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "queries" in body:
            names = [query["package"]["name"] for query in body["queries"]]
            self.requested.update(names)
            found = [{"vulns": [KNOWN]} if name == self.vulnerable else {} for name in names]
            self.respond({"results": found})
            return
        package = body["package"]
        self.requested.add(package["name"])
        details = {
            "summary": "Made up",
            "affected": [{"package": package, "ranges": [EVERY_VERSION]}],
        }
        self.respond({"vulns": [KNOWN | details]} if package["name"] == self.vulnerable else {})

    def do_GET(self) -> None:
        self.respond({**KNOWN, "summary": "Made up", "affected": []})

    def respond(self, body: dict[str, object]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def vulnerability_database(vulnerable: str = "") -> Iterator[str]:
    """Serve the database, in which one package may be vulnerable, and return its URL."""
    Database.vulnerable, Database.requested = vulnerable, set()
    with HTTPServer(("127.0.0.1", 0), Database) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()

"""A client of the service over TLS, to be run where the machine's network is.

    python load.py NAME ADDRESS CERTIFICATE TOKEN METHOD PATH [JSON]
    python load.py NAME ADDRESS CERTIFICATE TOKEN LEAST PAUSE

The first form sends one request and prints status and body. The second keeps eight in flight until
its standard input is closed, and at least so many in all, and prints what came of them; a pause in
seconds after each answer makes it a lighter load.
"""

import collections
import http.client
import itertools
import json
import socket
import ssl
import sys
import threading
import time

IN_FLIGHT = 8


class Site:
    """Where the service is, and the token it wants."""

    def __init__(self, name: str, address: str, certificate: str, token: str) -> None:
        self.name = name
        self.address = address
        self.token = token
        # One for all connections: with the default one each would take 20 ms to make.
        self.tls = ssl.create_default_context(cafile=certificate)

    def connect(self) -> http.client.HTTPSConnection:
        """Connect to the address and check that the certificate is for the name."""
        connection = http.client.HTTPSConnection(self.name, context=self.tls)
        plain = socket.create_connection((self.address, 443), timeout=30)
        connection.sock = self.tls.wrap_socket(plain, server_hostname=self.name)
        return connection

    def ask(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: str | None
    ) -> tuple[http.client.HTTPResponse, str]:
        """Send a request and return the answer with all of its body."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read().decode()


class Load:
    """Requests from several threads: every other one of them keeps its connection for GETs."""

    def __init__(self, site: Site, least: int, pause: float) -> None:
        self.site, self.least, self.pause = site, least, pause
        self.numbers = itertools.count()
        self.run = time.time_ns()
        self.ending, self.lock = threading.Event(), threading.Lock()
        self.answers: collections.Counter[str] = collections.Counter()
        self.failed: list[str] = []
        self.when: list[tuple[float, float]] = []  # each of those was in flight
        self.created: list[str] = []
        self.again = 0  # on a kept connection that was closed meanwhile
        self.slowest = 0.0

    def work(self, keep: bool) -> None:
        """Send requests until it is told to end; an error ends only the connection."""
        connection = None
        while (number := next(self.numbers)) < self.least or not self.ending.is_set():
            title = f"{self.run}-{number}"
            method, path, body = (
                ("GET", "/", None),
                ("GET", "/api/v1/notes?limit=5", None),
                ("GET", "/static/app.css", None),
                ("POST", "/api/v1/notes", json.dumps({"title": title})),
            )[number % 4]
            if method == "POST":
                connection = None  # what must not be sent twice is not risked on an old connection
            began, reused = time.time(), connection is not None
            try:
                connection = connection or self.site.connect()
                try:
                    answer, _ = self.site.ask(connection, method, path, body)
                except (ConnectionError, ssl.SSLEOFError):
                    # The server may close a kept connection at any time (RFC 9112, 9.3.1).
                    if not reused:
                        raise
                    connection = self.site.connect()
                    answer, _ = self.site.ask(connection, method, path, body)
                    self.again += 1
                kind, failed = f"{method} {answer.status}", not 200 <= answer.status < 300
                if answer.will_close or not keep:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                kind, failed, connection = f"{method} {error!r}", True, None
            with self.lock:
                self.slowest = max(self.slowest, time.time() - began)
                self.answers[kind] += 1
                if failed:
                    self.failed.append(kind)
                    self.when.append((began, time.time()))
                elif method == "POST":
                    self.created.append(title)
            time.sleep(self.pause)

    def until_told(self) -> dict[str, object]:
        """Run the threads and return what the test is to compare."""
        threads = [threading.Thread(target=self.work, args=(n % 2 == 0,)) for n in range(IN_FLIGHT)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self.ending.set()
        for thread in threads:
            thread.join()
        return {
            "total": self.answers.total(),
            "answers": self.answers,
            "failed": self.failed,
            "when": self.when,
            "created": self.created,
            "again": self.again,
            "slowest": self.slowest,
        }


def main() -> None:
    site, arguments = Site(*sys.argv[1:5]), sys.argv[5:]
    if arguments[0].isdecimal():
        result = Load(site, int(arguments[0]), float(arguments[1])).until_told()
    else:
        body = arguments[2] if len(arguments) == 3 else None
        answer, text = site.ask(site.connect(), arguments[0], arguments[1], body)
        result = {"status": answer.status, "body": text}
    print(json.dumps(result))


if __name__ == "__main__":
    main()

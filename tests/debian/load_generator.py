"""Client and load generator of the service over TLS, for the machine's network.

    python load_generator.py NAME ADDRESS CERTIFICATE TOKEN METHOD PATH [JSON]
    python load_generator.py NAME ADDRESS CERTIFICATE TOKEN LEAST PAUSE

The first form sends one request and prints status and body. The second form keeps eight requests in
flight until its standard input is closed, sends at least LEAST of them, and prints their outcome.
PAUSE, in seconds after each response, makes the load lighter.
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
    """Address, certificate and token of the service."""

    def __init__(self, name: str, address: str, certificate: str, token: str) -> None:
        self.name = name
        self.address = address
        self.token = token
        # Shared by all connections, because making a context takes 20 ms.
        self.tls = ssl.create_default_context(cafile=certificate)

    def connect(self) -> http.client.HTTPSConnection:
        """Connect to the address, and check the certificate against the name."""
        connection = http.client.HTTPSConnection(self.name, context=self.tls)
        plain = socket.create_connection((self.address, 443), timeout=30)
        connection.sock = self.tls.wrap_socket(plain, server_hostname=self.name)
        return connection

    def request(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: str | None
    ) -> tuple[http.client.HTTPResponse, str]:
        """Send a request; return the response and its body."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response, response.read().decode()


class Load:
    """Requests from several threads; every other thread reuses its connection for GETs."""

    def __init__(self, site: Site, least: int, pause: float) -> None:
        self.site, self.least, self.pause = site, least, pause
        self.numbers = itertools.count()
        self.prefix = time.time_ns()
        self.ending, self.lock = threading.Event(), threading.Lock()
        self.responses: collections.Counter[str] = collections.Counter()
        self.failed: list[str] = []
        self.when: list[tuple[float, float]] = []  # start and end of each failed request
        self.created: list[str] = []
        self.reconnects = 0  # the server had closed a reused connection
        self.slowest = 0.0

    def work(self, keep: bool) -> None:
        """Send requests until the end; an error closes only the connection."""
        connection = None
        while (number := next(self.numbers)) < self.least or not self.ending.is_set():
            title = f"{self.prefix}-{number}"
            method, path, body = (
                ("GET", "/", None),
                ("GET", "/api/v1/notes?limit=5", None),
                ("GET", "/static/app.css", None),
                ("POST", "/api/v1/notes", json.dumps({"title": title})),
            )[number % 4]
            if method == "POST":
                connection = None  # must not be sent twice, so it never reuses one
            began, reused = time.time(), connection is not None
            try:
                connection = connection or self.site.connect()
                try:
                    response, _ = self.site.request(connection, method, path, body)
                except (ConnectionError, ssl.SSLEOFError):
                    # The server may close a kept connection at any time (RFC 9112, 9.3.1).
                    if not reused:
                        raise
                    connection = self.site.connect()
                    response, _ = self.site.request(connection, method, path, body)
                    self.reconnects += 1
                kind, failed = f"{method} {response.status}", not 200 <= response.status < 300
                if response.status == 503:
                    kind += f" Retry-After {response.getheader('Retry-After')}"
                if response.will_close or not keep:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                kind, failed, connection = f"{method} {error!r}", True, None
            with self.lock:
                self.slowest = max(self.slowest, time.time() - began)
                self.responses[kind] += 1
                if failed:
                    self.failed.append(kind)
                    self.when.append((began, time.time()))
                elif method == "POST":
                    self.created.append(title)
            time.sleep(self.pause)

    def run_until_eof(self) -> dict[str, object]:
        """Run the threads until standard input is closed; return the outcome."""
        threads = [threading.Thread(target=self.work, args=(n % 2 == 0,)) for n in range(IN_FLIGHT)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self.ending.set()
        for thread in threads:
            thread.join()
        return {
            "total": self.responses.total(),
            "responses": self.responses,
            "failed": self.failed,
            "when": self.when,
            "created": self.created,
            "reconnects": self.reconnects,
            "slowest": self.slowest,
        }


def main() -> None:
    site, arguments = Site(*sys.argv[1:5]), sys.argv[5:]
    if arguments[0].isdecimal():
        result = Load(site, int(arguments[0]), float(arguments[1])).run_until_eof()
    else:
        body = arguments[2] if len(arguments) == 3 else None
        response, text = site.request(site.connect(), arguments[0], arguments[1], body)
        result = {"status": response.status, "body": text}
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""HTTP client of the site, and the checks that hold for each response."""

import http.client
import io
import json
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

DOMAIN = "my-service.example.com"
# Each response has each of these headers exactly once.
HEADERS = [
    "Cache-Control",
    "Content-Security-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "Referrer-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-Request-ID",
]


class SiteResponse:
    """Response of the site, with its whole body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def check_headers(self) -> None:
        """Check that each default header is there once."""
        found = {name: len(self.headers.get_all(name, [])) for name in HEADERS}
        assert found == dict.fromkeys(HEADERS, 1)

    def check_problem(self, status: int) -> None:
        """Check that the response is a problem document (RFC 9457) with this status."""
        assert self.status == status
        assert self.headers["Content-Type"] == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == status
        assert problem["request_id"] == self.headers["X-Request-ID"]
        assert set(problem) == {"type", "title", "status", "detail", "request_id"}
        self.check_headers()


class Received:
    """Received bytes in place of a socket, for http.client."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


class SiteClient:
    """Client that connects to the site's ports on this host."""

    http: int
    https: int
    certificate: Path

    def plain(self, port: int, source: str = "127.0.0.1") -> socket.socket:
        """Connect without TLS, from this address of the host."""
        return socket.create_connection(("127.0.0.1", port), 20, (source, 0))

    def connect(
        self,
        source: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        name: str = DOMAIN,
    ) -> ssl.SSLSocket:
        """Connect over TLS, from this address of the host."""
        tls = tls or self.tls()
        channel = self.plain(self.https, source)
        try:
            return tls.wrap_socket(channel, server_hostname=name)
        except OSError:
            channel.close()
            raise

    def tls(self) -> ssl.SSLContext:
        """Return a TLS context that trusts the site's certificate."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        source: str = "127.0.0.1",
        **headers: str,
    ) -> SiteResponse:
        """Send a request over TLS and return the response."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(DOMAIN)
        connection.sock = self.connect(source)
        try:
            connection.request(method, path, body, named)
            return SiteResponse(connection.getresponse())
        finally:
            connection.close()

    def curl(
        self, method: str, path: str, body: bytes | None, *options: str, **headers: str
    ) -> SiteResponse:
        """Send a request with curl, over HTTP/2 unless an option says otherwise."""
        command = ["curl", "--silent", "--show-error", "--http2", "--include"]
        command += ["--cacert", str(self.certificate), "--request", method]
        command += ["--resolve", f"{DOMAIN}:{self.https}:127.0.0.1"]
        for name, value in headers.items():
            command += ["--header", f"{name.replace('_', '-')}: {value}"]
        # Without `Expect: 100-continue`, for whose response curl would wait.
        command += ["--header", "Expect:", "--data-binary", "@-"] if body is not None else []
        command += [*options, f"https://{DOMAIN}:{self.https}{path}"]
        done = subprocess.run(command, input=body, check=True, capture_output=True)
        version, _, received = done.stdout.partition(b" ")
        assert version == (b"HTTP/1.1" if "--http1.1" in options else b"HTTP/2")
        # http.client would decode chunks, which curl has done.
        received = received.replace(b"\r\nTransfer-Encoding: chunked", b"", 1)
        response = http.client.HTTPResponse(Received(b"HTTP/1.0 " + received))  # type: ignore[arg-type]
        response.begin()
        return SiteResponse(response)

    def get(self, path: str, **headers: str) -> SiteResponse:
        """Send a GET request."""
        return self.request("GET", path, None, **headers)

    def raw(self, data: bytes, plain: bool = False, source: str = "127.0.0.1") -> bytes:
        """Send bytes, and return all bytes that arrive until the connection is closed."""
        with self.plain(self.http) if plain else self.connect(source) as channel:
            channel.sendall(data)
            received = b""
            while chunk := channel.recv(65536):
                received += chunk
        return received

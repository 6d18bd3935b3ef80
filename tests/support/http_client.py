"""The site, as a client of it sees it."""

import http.client
import socket
import ssl
from pathlib import Path

from .answer import Answer

DOMAIN = "my-service.example.com"


class Client:
    """What connects to the ports of the site, on this host."""

    http: int
    https: int
    certificate: Path

    def plain(self, port: int, source: str = "127.0.0.1") -> socket.socket:
        """Return a connection from this address of the host."""
        return socket.create_connection(("127.0.0.1", port), 20, (source, 0))

    def connect(
        self,
        source: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        name: str = DOMAIN,
    ) -> ssl.SSLSocket:
        """Return a connection to the site over TLS, from this address of the host."""
        tls = tls or self.tls()
        channel = self.plain(self.https, source)
        try:
            return tls.wrap_socket(channel, server_hostname=name)
        except OSError:
            channel.close()
            raise

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        source: str = "127.0.0.1",
        **headers: str,
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(DOMAIN)
        connection.sock = self.connect(source)
        try:
            connection.request(method, path, body, named)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, None, **headers)

    def raw(self, data: bytes, plain: bool = False, source: str = "127.0.0.1") -> bytes:
        """Send bytes and return all that comes back until the connection is closed."""
        with self.plain(self.http) if plain else self.connect(source) as channel:
            channel.sendall(data)
            answer = b""
            while chunk := channel.recv(65536):
                answer += chunk
        return answer

"""Connections to the service under test, for requests and for WebTest."""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterable
from typing import Any
# <% if cookiecutter.wsgi_server == "uwsgi" %>
from urllib.parse import unquote, urlsplit

from {{ cookiecutter.package_name }}.server import packet

# <% else %>
from urllib.parse import urlsplit

# <% endif %>
SAFE = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@!$&'()*+,;="
)
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


# <% if cookiecutter.wsgi_server == "uwsgi" %>
class UwsgiConnection(http.client.HTTPConnection):
    """Asks once, as Nginx does; what comes back is HTTP."""

    _asked = False

    def send(self, data: Any) -> None:
        super().send(data if self._asked else _translated(data))
        self._asked = True


def _translated(head: bytes) -> bytes:
    request, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, protocol = request.split(" ")
    path, _, query = target.partition("?")
    variables = {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": protocol,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
    }
    for line in lines:
        name, _, value = line.partition(": ")
        key = name.upper().replace("-", "_")
        variables[key if key.startswith("CONTENT_") else f"HTTP_{key}"] = value
    return packet(variables)


# <% endif %>
def connect(address: str, to: str = "") -> http.client.HTTPConnection:
    """Return a connection to `unix:/path`, `http://host:port` or `https://host:port`.

    `to` is a `host:port` to go to in place of the one in the address.
    """
    if address.startswith("unix:"):
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(address.removeprefix("unix:"))
        except OSError:
            channel.close()
            raise
        # <% if cookiecutter.wsgi_server == "uwsgi" %>
        connection: http.client.HTTPConnection = UwsgiConnection("localhost")
        # <% else %>
        connection = http.client.HTTPConnection("localhost")
        # <% endif %>
    else:
        url = urlsplit(address)
        host, _, port = (to or url.netloc).rpartition(":")
        channel = socket.create_connection((host, int(port)))
        connection = http.client.HTTPConnection(url.netloc)
        if url.scheme == "https":
            context = ssl.create_default_context()
            channel = context.wrap_socket(channel, server_hostname=url.hostname)
    channel.settimeout(20)
    connection.sock = channel
    return connection


class Forwarder:
    """A WSGI application that passes each request on to a server, so that WebTest can talk to it."""

    def __init__(self, address: str, to: str = "") -> None:
        self._address = address
        self._to = to

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_") and name != "HTTP_HOST"
        }
        headers |= {
            name.replace("_", "-"): environ[name]
            for name in ("CONTENT_TYPE", "CONTENT_LENGTH")
            if environ.get(name)
        }
        path = environ["PATH_INFO"].encode("latin-1")
        target = "".join(chr(b) if b in SAFE else f"%{b:02X}" for b in path)
        if environ["QUERY_STRING"]:
            target += f"?{environ['QUERY_STRING']}"
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        connection = connect(self._address, self._to)
        try:
            # A server may answer before it has read a body that it does not want.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(environ["REQUEST_METHOD"], target, body or None, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        own = [(n, v) for n, v in response.getheaders() if n.lower() not in HOP_BY_HOP]
        start_response(f"{response.status} {response.reason or '-'}", own)
        return [content]

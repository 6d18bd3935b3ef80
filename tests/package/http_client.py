"""HTTP connections to the started service, over TCP or a unix socket, or in uWSGI's protocol."""

import http.client
import socket
from typing import Any
from urllib.parse import unquote

from bottle_service.servers.uwsgi import packet


class UwsgiConnection(http.client.HTTPConnection):
    """Sends one request in uWSGI's protocol, as Nginx does; the response is HTTP."""

    _head_was_sent = False

    def send(self, data: Any) -> None:
        super().send(data if self._head_was_sent else _packet_of(data))
        self._head_was_sent = True


def _packet_of(head: bytes) -> bytes:
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


def connect(bind: str, server: str) -> http.client.HTTPConnection:
    """Return a connection to `host:port`, or to `unix:/path`, where uWSGI has its own protocol."""
    if not bind.startswith("unix:"):
        host, _, port = bind.rpartition(":")
        channel = socket.create_connection((host, int(port)), timeout=20)
        connection = http.client.HTTPConnection(host)
    else:
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(20)
        try:
            channel.connect(bind.removeprefix("unix:"))
        except OSError:
            channel.close()
            raise
        kind = UwsgiConnection if server == "uwsgi" else http.client.HTTPConnection
        connection = kind("localhost")
    connection.sock = channel
    return connection

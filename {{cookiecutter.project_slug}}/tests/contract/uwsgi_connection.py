"""A connection in uWSGI's own protocol, as Nginx's `uwsgi_pass` opens it."""

import http.client
from typing import Any
from urllib.parse import unquote

from bottle_service.servers.uwsgi import packet


class UwsgiConnection(http.client.HTTPConnection):
    """Sends one request; the response is HTTP."""

    _head_sent = False

    def send(self, data: Any) -> None:
        super().send(data if self._head_sent else _translate(data))
        self._head_sent = True


def _translate(head: bytes) -> bytes:
    """Return the head of an HTTP request as a uWSGI packet."""
    request_line, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, protocol = request_line.split(" ")
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

"""Connections to a server, and a WSGI application that forwards requests to it."""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

# <% if cookiecutter.wsgi_server == "uwsgi" %>
from .uwsgi_connection import UwsgiConnection as UnixConnection
# <% else %>
UnixConnection = http.client.HTTPConnection
# <% endif %>

# Seconds; a deployed service may be busy.
TIMEOUT = 20
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


def connect(url: str, connect_to: str = "") -> http.client.HTTPConnection:
    """Return a connection to `unix:/path`, `http://host:port` or `https://host:port`.

    `connect_to` is a `host:port` that replaces the one of the URL, as curl's option does.
    """
    connection: http.client.HTTPConnection
    if url.startswith("unix:"):
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(url.removeprefix("unix:"))
        except OSError:
            channel.close()
            raise
        connection = UnixConnection("localhost")
    else:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host, _, to_port = connect_to.rpartition(":")
        channel = socket.create_connection((host or parts.hostname, int(to_port or port)))
        connection = http.client.HTTPConnection(parts.netloc)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            channel = context.wrap_socket(channel, server_hostname=parts.hostname)
    channel.settimeout(TIMEOUT)
    connection.sock = channel
    return connection


class ProxyApp:
    """WSGI application that forwards each request to a server, so that WebTest can call it."""

    def __init__(self, url: str, connect_to: str = "") -> None:
        self._url = url
        self._connect_to = connect_to

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_") and name != "HTTP_HOST"
        }
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if environ.get(name):
                headers[name.replace("_", "-")] = environ[name]
        target = quote(environ["PATH_INFO"].encode("latin-1"), safe="/~:@!$&'()*+,;=")
        if environ["QUERY_STRING"]:
            target += f"?{environ['QUERY_STRING']}"
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        response, content = self._send(environ["REQUEST_METHOD"], target, body, headers)
        while response.status == 429:  # Nginx limits the requests of a client
            time.sleep(0.5)
            response, content = self._send(environ["REQUEST_METHOD"], target, body, headers)
        kept = [(n, v) for n, v in response.getheaders() if n.lower() not in HOP_BY_HOP]
        start_response(f"{response.status} {response.reason or '-'}", kept)
        return [content]

    def _send(
        self, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        with contextlib.closing(connect(self._url, self._connect_to)) as connection:
            # A server may respond before it has read a body that is too large.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body or None, headers)
            response = connection.getresponse()
            return response, response.read()

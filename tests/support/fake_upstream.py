"""Fake upstream behind Nginx: records its requests and responds as the test says."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

from .nginx_stack import NginxStack


def as_http(packet: bytes) -> bytes:
    """Convert a request in uWSGI's protocol to HTTP."""
    (length,) = struct.unpack_from("<H", packet, 1)
    texts, at = [], 4
    while at < 4 + length:
        (size,) = struct.unpack_from("<H", packet, at)
        texts.append(packet[at + 2 : at + 2 + size])
        at += 2 + size
    variables = dict(zip(texts[::2], texts[1::2], strict=True))
    lines = [b" ".join([variables[b"REQUEST_METHOD"], variables[b"REQUEST_URI"], b"HTTP/1.1"])]
    for name, value in variables.items():
        if name.startswith(b"HTTP_"):
            lines.append(name[5:].replace(b"_", b"-").title() + b": " + value)
    return b"\r\n".join([*lines, b"", packet[at:]])


@contextlib.contextmanager
def fake_upstream(
    stack: NginxStack, respond: Callable[[bytes], bytes], hold: bool = False
) -> Iterator[list[bytes]]:
    """Respond to each request in place of the service, then close the connection.

    Yields the list of requests, which grows as they arrive. With `hold`, the connections stay open
    until the end.
    """
    stack.stop_service()
    path = stack.directory / "service.sock"
    path.unlink(missing_ok=True)
    requests: list[bytes] = []
    held: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                channel, _ = listener.accept()
                data = channel.recv(65536)
                requests.append(as_http(data) if data.startswith(b"\0") else data)
                channel.sendall(respond(requests[-1]))
                held.append(channel)
                if not hold:
                    held.pop().close()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield requests
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for channel in held:
                channel.close()
    path.unlink()
    stack.start_service()

"""Something else than the service behind Nginx: it does as it is told, and tells what it was sent."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

from .chain import Chain


def as_http(packet: bytes) -> bytes:
    """Return what was asked in uWSGI's protocol as it would be in HTTP."""
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
def upstream(
    chain: Chain, answer: Callable[[bytes], bytes], hold: bool = False
) -> Iterator[list[bytes]]:
    """Answer each request so and close, in place of the service; with `hold`, close at the end only.

    Gives the requests, as they arrive.
    """
    chain.stop_service()
    path = chain.directory / "service.sock"
    path.unlink(missing_ok=True)
    requests: list[bytes] = []
    held: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                channel, _ = listener.accept()
                asked = channel.recv(65536)
                requests.append(as_http(asked) if asked.startswith(b"\0") else asked)
                channel.sendall(answer(requests[-1]))
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
    chain.start_service()

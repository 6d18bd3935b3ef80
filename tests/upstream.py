"""Something else than the service behind Nginx: it does as it is told, and tells what it was sent."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from .chain import Chain


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
                requests.append(channel.recv(65536))
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

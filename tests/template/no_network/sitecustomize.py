"""Start of each Python process without a network: test_generation.py puts this on PYTHONPATH."""

import sys

NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}


def _reject(event: str, _: object) -> None:
    if event in NETWORK:
        raise PermissionError("no network in this test")


sys.addaudithook(_reject)

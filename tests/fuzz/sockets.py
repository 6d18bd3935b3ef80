"""Started server, and hostile clients of its socket."""

import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..support.process import free_port, terminate
from .conversations import LAST, Conversation
from .requests import check_log, check_response
from .words import LIMIT, TOKEN

CLIENTS = 6  # fewer than the server has threads: Gunicorn keeps one for each unfinished request
QUIET = 1.0  # seconds without data, after which the client sends no more
# Statuses that a server may send itself, because the request does not reach the application.
SERVER_STATUSES = {400, 413, 414, 417, 431}

# IDs of requests whose client may disconnect before the response.
UNREAD = re.compile("reset-0000|probe-0000")

Response = tuple[int, list[tuple[str, str]], bytes]


class Server:
    """Started service of a project, and its log."""

    def __init__(self, project: Path, directory: Path) -> None:
        self.port = free_port()
        self._log = directory / "log"
        self._environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(project / "src"),
            "APP_ENV": "test",
            "API_TOKENS": f"tester:{TOKEN}",
            "BIND": f"127.0.0.1:{self.port}",
            "MAX_BODY_BYTES": str(LIMIT),
            "DATABASE_URL": f"sqlite:///{directory}/test.sqlite3",
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        command = [sys.executable, "-m", "my_service"]
        subprocess.run([*command, "migrate"], env=self._environ, check=True, capture_output=True)
        with self._log.open("wb") as log:
            process = subprocess.Popen([*command, "serve"], env=self._environ, stderr=log)
        try:
            self._wait()
            yield
            assert self.lives()
            assert process.poll() is None
        finally:
            terminate(process)
        assert process.returncode == 0

    def _wait(self) -> None:
        ends = time.monotonic() + 20
        while not self.lives():
            assert time.monotonic() < ends, self._log.read_text()
            time.sleep(0.05)

    def lives(self) -> bool:
        probe = LAST.replace(b"\r\n", b"\r\nX-Request-ID: probe-0000\r\n", 1)
        return [response[0] for response in responses(self.talk(Conversation("", (probe,))))] == [
            200
        ]

    def talk(self, conversation: Conversation) -> bytes:
        """Send the pieces; return all bytes until the server closes or is quiet."""
        received = b""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as it:
            it.settimeout(5)
            it.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(
                OSError
            ):  # the server may respond and close before it has read everything
                for number, piece in enumerate(conversation.pieces):
                    time.sleep(0.002 * number)
                    it.sendall(piece)
                if conversation.how == "cut":
                    it.shutdown(socket.SHUT_WR)
            if conversation.how == "reset":
                time.sleep(0.002)
                it.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return b""
            it.settimeout(QUIET)
            while True:
                try:
                    chunk = it.recv(65536)
                except TimeoutError:  # the server waits for more data: signal the end
                    it.shutdown(socket.SHUT_WR)
                    it.settimeout(10)
                    continue
                if not chunk:
                    break
                received += chunk
        return received

    def log(self) -> list[dict[str, Any]]:
        return check_log(self._log.read_bytes())


def responses(data: bytes) -> Iterator[Response]:
    """Split the received bytes into responses."""
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        assert end, data
        first, *lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.[0-9] ([1-5][0-9][0-9]) .+", first)
        assert match, first
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        length = next((int(value) for name, value in headers if name == "Content-Length"), 0)
        bodiless = not rest or rest.startswith(b"HTTP/1.")
        body, data = (b"", rest) if bodiless else (rest[:length], rest[length:])
        if match[1] != "100":
            yield int(match[1]), headers, body


class Tally:
    """Checks of the responses, and counts of the responses that the server sent itself."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.statuses = Counter[int]()
        self.own = Counter[tuple[str, int]]()
        self.examples: dict[tuple[str, int], tuple[bytes, bytes]] = {}

    def add(self, conversation: Conversation, received: bytes) -> None:
        sent = conversation.sent
        for status, headers, body in responses(received):
            ids = [value for name, value in headers if name.lower() == "x-request-id"]
            if ids:
                self.ids += ids
                self.statuses[status] += 1
                check_response(status, headers, body, head=not body and b"HEAD" in sent)
                continue
            unknown_coding = status == 501 and b"transfer-encoding" in sent.lower()
            assert status in SERVER_STATUSES or unknown_coding, status
            self.own[conversation.kind, status] += 1
            self.examples.setdefault((conversation.kind, status), (sent, received))
        if not received and conversation.how == "read":
            self.own[conversation.kind, 0] += 1
            self.examples.setdefault((conversation.kind, 0), (sent, b""))

    def check_log(self, lines: list[dict[str, Any]]) -> None:
        """Check that each response of the application has an access line, and no worker was replaced."""
        lines = [line for line in lines if not UNREAD.match(line.get("http.request.id", ""))]
        logged = Counter(
            line["http.request.id"] for line in lines if line["log.logger"] == "access"
        )
        received = Counter(name for name in self.ids if not UNREAD.match(name))
        lost = [line for line in lines if line.get("http.request.id") in logged - received]
        assert logged == received, (lost, received - logged)
        booted = [line for line in lines if line["message"].startswith("Booting worker")]
        assert len(booted) in (0, 2)  # Gunicorn replaced no worker


def attack(server: Server, conversations: list[Conversation], seed: str) -> Tally:
    tally = Tally()
    with server.running(), ThreadPoolExecutor(CLIENTS) as clients:
        for conversation, received in zip(
            conversations, clients.map(server.talk, conversations), strict=True
        ):
            try:
                tally.add(conversation, received)
            except (AssertionError, ValueError) as error:
                message = f"FUZZ_SEED={seed}: {conversation}\nreceived: {received!r}\n{error}"
                raise AssertionError(message) from None
    return tally

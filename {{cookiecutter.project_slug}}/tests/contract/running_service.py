"""The service under test in a process of its own, as its users start it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from .http_client import connect
from .service import SERVICE

ROOT = Path(__file__).parents[2]


class ServiceProcess:
    """`serve` in a process; a `with` block waits until it responds, and stops it at the end.

    `environ` are its settings, `url` is where it listens (`http://host:port` or `unix:/path`), and
    `directory` its working directory, which also gets its log.
    """

    def __init__(self, environ: dict[str, str], url: str, directory: Path) -> None:
        self.url = url
        self._log = directory / "service.log"
        bind = url if url.startswith("unix:") else urlsplit(url).netloc
        with self._log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", SERVICE.package, "serve"],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
                    **environ,
                    "BIND": bind,
                },
                cwd=directory,
                stderr=stderr,
            )

    def __enter__(self) -> Self:
        try:
            self._wait_until_ready()
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)  # as TimeoutStopSec
        finally:
            self.process.kill()

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError), closing(connect(self.url)) as connection:
                connection.request("GET", "/livez")
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"the service did not start:\n{self.log()}")


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port that no other process gets, although nothing listens on it.

    A server can still listen on it, because servers set SO_REUSEADDR.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("", 0))
        yield holder.getsockname()[1]

"""Terminal that runs a program, so that a test can type answers and Ctrl-C."""

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from pathlib import Path


class Terminal:
    """Terminal with a running command; `text` has its output."""

    def __init__(self, *command: str, cwd: Path, **environ: str) -> None:
        self.text = ""
        self._seen = 0
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "TERM": "dumb", **environ},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def read_until(self, text: str, seconds: float) -> None:
        """Wait until the text is printed, after the text of the last call.

        Raises AssertionError after the time.
        """
        ends = time.monotonic() + seconds
        while (found := self.text.find(text, self._seen)) < 0:
            assert time.monotonic() < ends, f"{text!r} was not printed:\n{self.text}"
            assert self._read(0.2), f"ended before it printed {text!r}:\n{self.text}"
        self._seen = found + len(text)

    def _read(self, seconds: float) -> bool:
        """Read the available output; return whether the program may print more."""
        if not select.select([self._master], [], [], seconds)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self._master, 65536)
        except OSError:  # on Linux, the error of a closed terminal
            return False
        self.text += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)

    def drain(self, seconds: float) -> None:
        """Read the output for that time, so that the program is never blocked."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self._read(0.05)

    def type(self, text: str) -> None:
        """Type the text."""
        os.write(self._master, text.encode())

    def interrupt(self) -> float:
        """Type Ctrl-C, and return the seconds until the program exits."""
        begun = time.monotonic()
        self.type("\x03")
        return self.end(begun)

    def end(self, begun: float | None = None) -> float:
        """Wait for the exit, kill the program after half a minute, and return the seconds."""
        begun = begun or time.monotonic()
        try:
            while self._read(0.2) and time.monotonic() < begun + 30:
                pass
            self.process.wait(timeout=10)
            return time.monotonic() - begun
        finally:
            self.process.kill()
            os.close(self._master)

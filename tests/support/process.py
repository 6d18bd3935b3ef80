"""Programs, ports and interpreters for the tests."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

_HELD: list[socket.socket] = []


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """Run a program that must succeed, and return its output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environ},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}"
    return done.stdout


def check_types(project: Path) -> None:
    """Run mypy in a project, with a cache for all projects that this thread checks."""
    cache = Path(os.environ["TMPDIR"], f"mypy-{os.getpid()}-{threading.get_ident()}")
    run("mypy", "--cache-dir", str(cache), cwd=project)


def terminate(process: "subprocess.Popen[bytes]") -> None:
    """Send SIGTERM and wait for the exit; kill the process after a minute."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    finally:
        process.kill()


def free_port() -> int:
    """Return a port that stays reserved while this process lives.

    The port is bound without listening: a server, which sets SO_REUSEADDR, can still listen on it.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("", 0))
    _HELD.append(holder)
    port: int = holder.getsockname()[1]
    return port


def wait_until_ready(url: str) -> None:
    """Poll /livez until the service at this URL responds. Fails the test after a minute."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with suppress(OSError), urllib.request.urlopen(f"{url}/livez", timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"{url} is not ready after a minute")


def plain_path() -> str:
    """Return the PATH without this environment's programs: no uv, as on a machine without it."""
    own = str(Path(sys.executable).parent)
    return os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if p != own)


def find_python(version: str) -> str | None:
    """Return an interpreter of the version with venv, from PATH or from pyenv's directory."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [shutil.which(f"python{version}"), *map(str, pyenv.glob(f"{version}.*/bin/python3"))]
    for path in filter(None, found):
        done = subprocess.run([path, "-c", "import venv"], check=False, capture_output=True)
        if done.returncode == 0:
            return path
    return None

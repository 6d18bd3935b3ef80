"""The started server where it is uWSGI: what it refuses, and how it ends."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .service import ANSWERED, BODY, ROOT, Service, guarded, workers_of

pytestmark = pytest.mark.live

SETTINGS = (ROOT / "uwsgi.ini").read_text()
# Python reads this before all else: the master is killed before the worker can watch it.
EARLY = """
import os, signal, sys, time

def kill_the_master(frame, *_):
    if frame.f_code.co_name == "outlive_master":
        sys.setprofile(None)
        master = os.getppid()
        os.kill(master, signal.SIGKILL)
        while os.getppid() == master:
            time.sleep(0.01)

sys.setprofile(kill_the_master)
"""


@contextlib.contextmanager
def uwsgi(settings: str, environ: dict[str, str], directory: Path) -> Iterator[Any]:
    """Start uWSGI with the settings, in a directory where it listens."""
    (directory / "uwsgi.ini").write_text(settings)
    given = {"PYTHONPATH": f"{ROOT}/src", "SERVE_WEB_CONCURRENCY": "1", "SERVE_WEB_THREADS": "1"}
    run = [sys.executable, "-c", "from pyuwsgi import run; run()", "--ini", "uwsgi.ini"]
    with subprocess.Popen(
        [*run, "--socket", "socket"],
        cwd=directory,
        env=environ | given,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("misspelt = 1", "unknown config directive"), ("module = nothing:app", "no app loaded")],
)
def test_uwsgi_does_not_start(wrong: str, said: str, tmp_path: Path) -> None:
    with uwsgi(f"{SETTINGS}\n{wrong}\n", {}, tmp_path) as process:
        assert process.wait(timeout=20)
        assert said in process.stderr.read()


@pytest.mark.parametrize("moment", ["registered nl:own", "spawned uWSGI worker 2"])
def test_it_ends_while_it_starts(
    environ: dict[str, str], place: str, tmp_path: Path, moment: str
) -> None:
    """Before its master has begun, and its workers. Each process is asked, as systemd does."""
    service = Service(environ, place, tmp_path / "log")
    try:
        while moment not in service.log():
            assert service.process.poll() is None
        for process in (service.process.pid, *workers_of(service)):
            os.kill(process, signal.SIGTERM)
        # What `_exit` is called with is the signal.
        assert service.process.wait(timeout=20) in (0, signal.SIGTERM)
    finally:
        service.process.kill()


@pytest.mark.parametrize("slow", [["post-fork"], ["post-fork", "master-start"]])
def test_it_ends_before_its_hooks(environ: dict[str, str], tmp_path: Path, slow: list[str]) -> None:
    """Those of its workers, or its master's too. Only that is asked, as under an emperor."""
    settings = SETTINGS
    for phase in slow:
        first = f"hook-{phase} ="
        settings = settings.replace(first, f"{first} safeexec:sleep 9\n{first}", 1)
    with uwsgi(settings, environ, tmp_path) as process:
        begun: set[str] = set()
        while not begun >= {"(post-fork)...\n", "(master-start)...\n"}:
            begun.add(process.stderr.readline().rpartition(" ")[2])
            assert process.poll() is None
        time.sleep(0.5)
        process.terminate()
        assert process.wait(timeout=5) == 0


@guarded
def test_a_worker_without_a_master_takes_no_request(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """It would drop what it takes: the next ones find it where it waits."""
    path = tmp_path / "socket"
    (tmp_path / "sitecustomize.py").write_text(EARLY)
    early = environ | {"PYTHONPATH": f"{ROOT}/src:{tmp_path}", "WEB_CONCURRENCY": "1"}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        service = Service(early, f"unix:{path}", tmp_path / "log", listener)
        connection = service.half_a_request()
        service.process.wait(timeout=20)
        time.sleep(1)  # the worker has ended too
        service = Service(environ, f"unix:{path}", tmp_path / "log", listener)
        try:
            connection.send(BODY[5:])
            assert connection.getresponse().status in ANSWERED
        finally:
            connection.close()
            service.stop()


@guarded
def test_an_answer_outlives_the_counts(environ: dict[str, str], tmp_path: Path) -> None:
    """Those of a server whose master was killed are removed; a worker may count its first then."""
    environ |= {"TMPDIR": str(tmp_path), "WEB_CONCURRENCY": "1"}
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        service = Service(environ, f"unix:{path}", tmp_path / "log", listener)
        connection = service.half_a_request()
        while not any(state.read_bytes()[8:9] > b"\0" for state in tmp_path.glob("*/worker-0")):
            assert service.process.poll() is None
        service.process.kill()
        service.process.wait()
        ends = time.monotonic() + 20
        while [*tmp_path.glob("*/worker-0")]:
            assert time.monotonic() < ends
            time.sleep(0.1)
        connection.send(BODY[5:])
        response = connection.getresponse()
        assert response.status in ANSWERED
        assert json.loads(response.read())
        connection.close()

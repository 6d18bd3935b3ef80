"""The started server where it is uWSGI: what it refuses, and its ends before it serves."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .service import ANSWERED, BODY, ROOT, Service, guarded, workers_of

pytestmark = pytest.mark.live

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


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("misspelt = 1", "unknown config directive"), ("module = nothing:app", "no app loaded")],
)
def test_uwsgi_does_not_start(wrong: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "uwsgi.ini"
    file.write_text(f"{(ROOT / 'uwsgi.ini').read_text()}\n{wrong}\n")
    given = {"SERVE_WEB_CONCURRENCY": "1", "SERVE_WEB_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from pyuwsgi import run; run()", "--ini", file, "-s", "socket"],
        cwd=tmp_path,
        env=given,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode
    assert said in done.stderr


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

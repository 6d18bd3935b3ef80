"""uWSGI: invalid settings, and stops at each moment of its start and reload."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import PROJECT
from .running_service import Launcher, free_port, wait_until
from .server_selection import with_uwsgi

pytestmark = with_uwsgi

SETTINGS = (PROJECT / "uwsgi.ini").read_text()


SLOW_POST_FORK = "hook-post-fork = safeexec:sleep 1\nhook-post-fork ="


@contextlib.contextmanager
def uwsgi(settings: str, launcher: Launcher, **environ: str) -> Iterator["subprocess.Popen[str]"]:
    """Start uWSGI itself with these settings, in a directory where it listens."""
    (launcher.directory / "uwsgi.ini").write_text(settings)
    run = [sys.executable, "-c", "from pyuwsgi import run; run()", "--ini", "uwsgi.ini"]
    with subprocess.Popen(
        [*run, "--socket", "socket"],
        cwd=launcher.directory,
        env={
            "PYTHONPATH": str(launcher.project / "src"),
            "SAMPLE_SERVER": "uwsgi",
            "SERVE_MODULE": "sample.wsgi:app",
            "SERVE_NAME": "sample-service",
            "SERVE_WEB_CONCURRENCY": "1",
            "SERVE_WEB_THREADS": "1",
            **environ,
        },
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def read_until(process: "subprocess.Popen[str]", text: str) -> None:
    """Read the log up to a line with this text."""
    assert process.stderr
    while text not in (line := process.stderr.readline()):
        assert line, f"uWSGI has exited without {text!r}"


@pytest.fixture
def listener(launcher: Launcher) -> Iterator[socket.socket]:
    """A unix socket that is passed to each service, as systemd does."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(launcher.directory / "inherited"))
        listener.listen()
        yield listener


@pytest.mark.parametrize(
    ("line", "message"),
    [("misspelt = 1", "unknown config directive"), ("module = nothing:app", "no app loaded")],
)
def test_invalid_setting_stops_the_start(launcher: Launcher, line: str, message: str) -> None:
    with uwsgi(f"{SETTINGS}\n{line}\n", launcher) as process:
        _, stderr = process.communicate(timeout=20)
        assert process.returncode
        assert message in stderr


def test_stream_that_fails_is_reset_over_tcp(launcher: Launcher) -> None:
    service = launcher.start(f"127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionResetError):
        service.get("/broken-chunks")


@pytest.mark.parametrize("moment", ["registered nl:own", "spawned uWSGI worker 2"])
def test_stop_during_the_start_stops(launcher: Launcher, moment: str) -> None:
    """Before master or workers are ready; systemd sends the signal to each process.

    uWSGI 2.0.30 loses a signal that comes in the microseconds around a fork: seen once in some
    hundred starts on a busy machine. So the test starts the service again then; without the hooks
    of uwsgi.ini every signal is lost.
    """
    for _ in range(3):
        service = launcher.start(wait=False)
        wait_until(lambda service=service: moment in service.log())  # type: ignore[misc]
        for process in (service.process.pid, *service.workers()):
            os.kill(process, signal.SIGTERM)
        try:
            # `_exit`, which uwsgi.ini makes the handler, is called with the signal's number.
            assert service.process.wait(timeout=20) in (0, signal.SIGTERM)
            break
        except subprocess.TimeoutExpired:
            service.process.kill()
    else:
        pytest.fail("no stop during the start had an effect")


@pytest.mark.parametrize("slow_hooks", [["post-fork"], ["post-fork", "master-start"]])
def test_stop_before_the_hooks_of_the_start_stops(
    launcher: Launcher, slow_hooks: list[str]
) -> None:
    """Only the master gets the signal, as under an emperor."""
    settings = SETTINGS
    for phase in slow_hooks:
        first = f"hook-{phase} ="
        settings = settings.replace(first, f"{first} safeexec:sleep 9\n{first}", 1)
    with uwsgi(settings, launcher, APP_ENV="test", API_TOKENS="tester:token") as process:
        assert process.stderr
        begun: set[str] = set()
        while not begun >= {"(post-fork)...\n", "(master-start)...\n"}:
            begun.add(process.stderr.readline().rpartition(" ")[2])
            assert process.poll() is None
        time.sleep(0.5)
        process.terminate()
        assert process.wait(timeout=5) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_before_a_reloaded_worker_has_its_handlers_stops(
    launcher: Launcher, number: signal.Signals
) -> None:
    """The worker ignores its master's HUP then, and must exit when its application is loaded."""
    settings = SETTINGS.replace("hook-post-fork =", SLOW_POST_FORK, 1)
    with uwsgi(settings, launcher, APP_ENV="test", API_TOKENS="tester:token") as process:
        read_until(process, "(accepting)")
        process.send_signal(signal.SIGHUP)
        read_until(process, "Respawned uWSGI worker 1")
        process.send_signal(number)
        assert process.wait(timeout=15) == 0


def test_worker_whose_master_was_killed_early_accepts_no_request(
    launcher: Launcher, listener: socket.socket
) -> None:
    """The request waits in the socket's queue for the next service."""
    bind = f"unix:{listener.getsockname()}"
    service = launcher.start(
        bind, inherited=listener, wait=False, sitecustomize="kill_master_early", WEB_CONCURRENCY="1"
    )
    request = service.open_partial_request()
    service.process.wait(timeout=20)
    time.sleep(1)  # the worker has exited too
    launcher.start(bind, inherited=listener, wait=False)
    request.complete()


def test_response_outlives_the_metrics_of_a_killed_master(
    launcher: Launcher, listener: socket.socket
) -> None:
    """The metrics are removed, and a worker may count its first request after that."""
    bind = f"unix:{listener.getsockname()}"
    service = launcher.start(bind, inherited=listener, wait=False, WEB_CONCURRENCY="1")
    connection = service.connect()
    connection.request("GET", "/slow")

    def slots() -> list[Path]:
        return [*service.directory.glob("*-metrics-*/worker-0")]

    wait_until(lambda: any(slot.read_bytes()[8:9] > b"\0" for slot in slots()))
    service.process.kill()
    service.process.wait()
    wait_until(lambda: not slots())
    with contextlib.closing(connection):
        assert connection.getresponse().status == 200

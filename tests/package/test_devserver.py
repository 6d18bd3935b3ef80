"""Development server: the token in `.env`, the restart after a change, and the banner."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
from watchfiles import Change

from bottle_service.devserver import (
    banner,
    ensure_dev_token,
    interrupts_deferred,
    should_reload,
)

from .running_service import assemble, free_port, wait_until
from .sample.app import SERVICE
from .sample.settings import Settings

MakeRun = Callable[..., "subprocess.Popen[bytes]"]


def clients() -> list[tuple[str, str]]:
    tokens = Settings.load(os.environ).api_tokens
    return [(name, token.reveal()) for name, token in tokens.clients]


@pytest.fixture
def _development(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"APP_ENV": "development"})


@pytest.mark.usefixtures("_development")
@pytest.mark.parametrize("file", ["another-file", ".env", ".env.development"])
def test_dev_token_is_created_once(file: str) -> None:
    """An empty API_TOKENS in a file counts as not set."""
    Path(file).write_text("API_TOKENS=\n")
    ensure_dev_token(Settings)
    ((name, token),) = created = clients()
    assert (name, len(token) >= 32) == ("dev", True)
    ensure_dev_token(Settings)
    assert clients() == created


@pytest.mark.usefixtures("_development")
def test_file_of_the_dev_token_is_private() -> None:
    ensure_dev_token(Settings)
    assert Path(".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("_development")
@pytest.mark.parametrize("text", ["API_TOKENS=me:mine\n", "API_TOKENS=invalid\n"])
def test_dev_token_replaces_no_value(text: str) -> None:
    Path(".env").write_text(text)
    ensure_dev_token(Settings)
    assert Path(".env").read_text() == text


@pytest.mark.parametrize(
    ("path", "reloads"),
    [
        (".env", True),
        (".env.development", True),
        ("src/service/app.py", True),
        ("src/service/views/error.tpl", True),
        ("src/service/migrations/env.py", True),
        ("src/service/migrations/versions/0002_new.py", False),
        ("db.sqlite3", False),
        (".venv/lib/module.py", False),
    ],
)
def test_change_of_a_source_triggers_a_reload(path: str, reloads: bool) -> None:
    """The author reads a new migration before a restart applies it."""
    assert should_reload(Change.modified, f"/project/{path}") == reloads


@pytest.mark.usefixtures("_development")
def test_banner_has_url_token_and_a_first_call() -> None:
    ensure_dev_token(Settings)
    ((_, token),) = clients()
    text = banner(SERVICE, Settings.load(os.environ), "http://127.0.0.1:8000")
    assert f"token of 'dev': {token}" in text
    assert f"-H 'Authorization: Bearer {token}'" in text
    assert """-d '{"name": "World"}' http://127.0.0.1:8000/greetings""" in text


# The development server in a process of its own


@pytest.fixture
def make_run(tmp_path: Path, server: str) -> Iterator[MakeRun]:
    """Return a function that starts the development server of the sample service, as `make run`."""
    project = assemble(tmp_path)
    started: list[subprocess.Popen[bytes]] = []

    def start(**environ: str) -> "subprocess.Popen[bytes]":
        settings = {"APP_ENV": "development", "SAMPLE_SERVER": server, "PATH": os.environ["PATH"]}
        one = {"WEB_CONCURRENCY": "1"} if server == "waitress" else {}
        with (tmp_path / "output").open("wb") as output:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "bottle_service.devserver", "sample"],
                    cwd=project,
                    env={**settings, **one, "PYTHONPATH": "src", **environ},
                    stdout=output,
                    stderr=output,
                )
            )
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def page(port: int) -> str:
    """Return the page at / over a new connection."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()


def wait_for_banner(directory: Path) -> None:
    wait_until(lambda: "Press Ctrl-C to stop." in (directory / "output").read_text())


def test_change_is_served_while_no_connection_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    """Requests that come meanwhile wait for the new process."""
    port = free_port()
    make_run(PORT=str(port))
    wait_for_banner(tmp_path)
    errors: list[Exception] = []
    changed = threading.Event()

    def send_requests() -> None:
        while not changed.wait(0.01):
            try:
                page(port)
            except Exception as error:
                errors.append(error)

    client = threading.Thread(target=send_requests)
    client.start()
    try:
        view = tmp_path / "src/sample/views/home.tpl"
        for number in range(3):
            view.write_text(f"<h1>Change {number}</h1>")
            saved = time.monotonic()
            while f"Change {number}" not in page(port):
                assert time.monotonic() < saved + 10
            print(f"served {time.monotonic() - saved:.1f} s after the change")
    finally:
        changed.set()
        client.join()
    assert errors == []


def test_changed_address_is_listened_on(make_run: MakeRun, tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    (tmp_path / ".env").write_text(f"BIND=127.0.0.1:{first}\n")
    make_run()
    wait_for_banner(tmp_path)
    settings = (tmp_path / ".env").read_text()
    (tmp_path / ".env").write_text(settings.replace(str(first), str(second)))

    def responds(port: int) -> bool:
        with suppress(ConnectionError):
            return "Sample" in page(port)
        return False

    wait_until(lambda: responds(second))
    wait_until(lambda: not responds(first))  # the previous process finishes its requests


def test_service_starts_after_its_error_is_fixed(make_run: MakeRun, tmp_path: Path) -> None:
    """Requests wait meanwhile."""
    routes = tmp_path / "src/sample/routes.py"
    source = routes.read_text()
    routes.write_text("an error")
    port = free_port()
    make_run(PORT=str(port))
    wait_until(lambda: "SyntaxError" in (tmp_path / "output").read_text())
    fix = threading.Timer(0.5, routes.write_text, [source])
    fix.start()
    assert "Sample" in page(port)
    fix.join()
    wait_for_banner(tmp_path)


def test_address_of_another_service_is_reported_without_a_banner(
    make_run: MakeRun, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as another:
        bind = f"127.0.0.1:{another.getsockname()[1]}"
        process = make_run(BIND=bind)
        assert process.wait(20) == 2
    printed = (tmp_path / "output").read_text()
    assert printed.startswith(f"BIND: cannot listen on {bind}: Address already in use; set PORT")
    assert "Ctrl-C" not in printed


def test_ctrl_c_ends_every_process(make_run: MakeRun, tmp_path: Path) -> None:
    """Also with an idle connection."""
    port = free_port()
    process = make_run(PORT=str(port))
    wait_for_banner(tmp_path)
    with socket.create_connection(("127.0.0.1", port)):
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    wait_until(lambda: tmp_path not in working_directories())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_waits_for_the_end_of_a_start(number: signal.Signals) -> None:
    """Otherwise the process that is just being started would be left behind."""
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    finished = []

    @interrupts_deferred()
    def start() -> None:
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        finished.append(True)

    with pytest.raises(KeyboardInterrupt):
        start()
    assert finished
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def working_directories() -> Iterator[Path]:
    """Yield the working directory of each process that this user may ask."""
    for path in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # of another user, or it has just ended
            yield path.readlink()

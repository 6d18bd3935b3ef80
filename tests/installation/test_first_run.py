"""First run: the commands of the README on a fresh clone."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.screenshot import SCREENSHOT, draw, record

from ..support.fixtures import Needs
from ..support.generate import TEMPLATE
from ..support.git import copy_working_tree
from ..support.markdown import blocks
from ..support.process import free_port, plain_path, run
from ..support.terminal import Terminal


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the files that Git tracks or would add."""
    return copy_working_tree(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def demo(clone: Path) -> Iterator[tuple[Terminal, str]]:
    """Run `make demo` and return its terminal and its URL."""
    port = free_port()
    (command,) = blocks(TEMPLATE, "README.md", "")
    demo = Terminal(*command.split(), cwd=clone, BIND=f"127.0.0.1:{port}", PATH=plain_path())
    try:
        demo.read_until("Press Ctrl-C to stop.", 240)
        yield demo, f"http://127.0.0.1:{port}"
    finally:
        if demo.process.poll() is None:
            demo.interrupt()


def test_make_demo_serves_the_service(demo: tuple[Terminal, str]) -> None:
    _, url = demo
    with urllib.request.urlopen(f"{url}/livez") as response:
        assert json.load(response) == {"status": "ok"}
    with urllib.request.urlopen(f"{url}/") as response:
        assert "<h1>My Service</h1>" in response.read().decode()


def test_printed_curl_command_creates_a_note(demo: tuple[Terminal, str], needs: Needs) -> None:
    needs("curl")
    terminal, url = demo
    (command,) = re.findall(r"^  curl .*\n.*$", terminal.text, re.MULTILINE)
    created = run("sh", "-c", f"{command} -sS -i", cwd=TEMPLATE)
    assert created.startswith("HTTP/1.1 201")
    (path,) = re.findall(r"^Location: (.*?)\s*$", created, re.MULTILINE | re.IGNORECASE)
    read = re.sub(r"-d '[^']*' \S+", f"{url}{path}", command)
    assert json.loads(run("sh", "-c", f"{read} -sS", cwd=TEMPLATE))["title"] == "Hello"


def test_ctrl_c_ends_make_demo(demo: tuple[Terminal, str]) -> None:
    terminal, url = demo
    assert terminal.interrupt() < 30
    assert "Traceback" not in terminal.text
    socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))).close()


def test_make_run_reloads_after_a_change(clone: Path) -> None:
    """In the project that `make demo` generated."""
    project = clone / "build" / "my-service"
    port = free_port()
    (command,) = blocks(project, "README.md", "")
    terminal = Terminal(*command.split(), cwd=project, BIND=f"127.0.0.1:{port}")
    try:
        terminal.read_until("Press Ctrl-C to stop.", 60)
        package = project / "src/my_service"
        view = package / "views/home.tpl"
        view.write_text(view.read_text().replace("<h1>", "<h1>New: "))
        pages = package / "routes/pages.py"  # without the overview, as the overview says
        pages.write_text(re.sub(r"    if overview:.*?\n.*?\n", "", pages.read_text()))
        page, ends = "", time.monotonic() + 30
        while "<h1>New: " not in page and time.monotonic() < ends:
            terminal.drain(0.2)
            address = f"http://127.0.0.1:{port}/"
            with contextlib.suppress(OSError), urllib.request.urlopen(address) as response:
                page = response.read().decode()
        assert "<h1>New: My Service</h1>" in page
    finally:
        terminal.interrupt()
    assert terminal.text.count("API_TOKENS") == 0
    assert (project / ".env").stat().st_mode & 0o777 == 0o600


def test_make_run_starts_after_a_fixed_setting(clone: Path) -> None:
    project = clone / "build" / "my-service"
    settings = project / ".env"
    original = settings.read_text()
    settings.write_text(f"{original}WEB_TREADS=4\n")
    terminal = Terminal("make", "run", cwd=project, BIND=f"127.0.0.1:{free_port()}")
    try:
        terminal.read_until("did you mean WEB_THREADS?", 60)
        terminal.drain(2)
        settings.write_text(original)
        terminal.read_until("Press Ctrl-C to stop.", 60)
    finally:
        terminal.interrupt()
    assert terminal.text.count("WEB_TREADS") == 1


def test_make_demo_keeps_an_existing_project(clone: Path) -> None:
    port = free_port()
    demo = Terminal("make", "demo", cwd=clone, BIND=f"127.0.0.1:{port}")
    try:
        demo.read_until("serving build/my-service as it is", 60)
        demo.read_until("Press Ctrl-C to stop.", 60)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
            assert "<h1>New: My Service</h1>" in response.read().decode()
    finally:
        demo.interrupt()


def test_make_new_generates_the_project(clone: Path, tmp_path: Path) -> None:
    (command,) = blocks(TEMPLATE, "README.md", "Generate your own")
    new = Terminal(*command.split(), f"TO={tmp_path}", cwd=clone)
    new.read_until("What is the service called?", 60)
    new.type("Asked For\n" + "\n" * 12)
    new.end()
    assert new.process.returncode == 0, new.text
    assert (tmp_path / "asked-for" / "src" / "asked_for" / "app.py").exists()


def test_screenshot_is_current(needs: Needs) -> None:
    needs("curl")
    assert draw(record()) == SCREENSHOT.read_text(), "run make screenshot"


def test_old_python_is_reported(clone: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text(
        f"#!{sys.executable}\nimport sys\nsys.version_info = (3, 10, 0)\nexec(sys.argv[2])\n"
    )
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "-B", ".venv/ready", f"PYTHON={old}"],
        cwd=clone,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "ERROR: Python 3.11 or later is needed" in done.stderr

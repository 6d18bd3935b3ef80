"""The two commands of the README, on a fresh clone, as a stranger types them."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.screenshot import SCREENSHOT, draw, record

from ..support.generate import TEMPLATE
from ..support.markdown import blocks
from ..support.process import free_port, plain_path
from ..support.terminal import Terminal


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that Git has or would take, in a directory of their own."""
    target = tmp_path_factory.mktemp("clone")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=TEMPLATE, check=True, capture_output=True, text=True)
    for name in filter(None, done.stdout.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TEMPLATE / name, target / name)
    return target


def test_make_demo(clone: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (command,) = blocks(TEMPLATE, "README.md", "")
    demo = Terminal(*command.split(), cwd=clone, BIND=f"127.0.0.1:{port}", PATH=plain_path())
    try:
        demo.read_until("Ctrl-C ends it.", 240)
        with urllib.request.urlopen(f"{url}/livez") as answer:
            assert json.load(answer) == {"status": "ok"}
        with urllib.request.urlopen(f"{url}/") as answer:
            assert "<h1>My Service</h1>" in answer.read().decode()
        (call,) = re.findall(r"^  curl .*\n.*$", demo.text, re.MULTILINE)
        made = subprocess.run(
            ["sh", "-c", f"{call} -sS -i"], check=True, capture_output=True, text=True
        )
        assert made.stdout.startswith("HTTP/1.1 201")
        (place,) = re.findall(r"^Location: (.*?)\s*$", made.stdout, re.MULTILINE | re.IGNORECASE)
        read = re.sub(r"-d '[^']*' \S+", f"{url}{place}", call)
        note = subprocess.run(
            ["sh", "-c", f"{read} -sS"], check=True, capture_output=True, text=True
        )
        assert json.loads(note.stdout)["title"] == "Hello"
    finally:
        seconds = demo.interrupt()
    assert "Traceback" not in demo.text
    assert seconds < 30
    socket.create_server(("127.0.0.1", port)).close()


def test_a_change_restarts_the_service(clone: Path) -> None:
    """In the project that `make demo` has left."""
    project = clone / "build" / "my-service"
    port = free_port()
    (command,) = blocks(project, "README.md", "")
    run = Terminal(*command.split(), cwd=project, BIND=f"127.0.0.1:{port}")
    try:
        run.read_until("Ctrl-C ends it.", 60)
        view = project / "src/my_service/views/home.tpl"
        view.write_text(view.read_text().replace("<h1>", "<h1>New: "))
        page, ends = "", time.monotonic() + 30
        while "<h1>New: " not in page and time.monotonic() < ends:
            run.drain(0.2)
            address = f"http://127.0.0.1:{port}/"
            with contextlib.suppress(OSError), urllib.request.urlopen(address) as answer:
                page = answer.read().decode()
        assert "<h1>New: My Service</h1>" in page
    finally:
        run.interrupt()
    assert run.text.count("API_TOKENS") == 0
    assert (project / ".env").stat().st_mode & 0o777 == 0o600


def test_a_first_start_that_failed_is_mended(clone: Path) -> None:
    project = clone / "build" / "my-service"
    settings = project / ".env"
    right = settings.read_text()
    settings.write_text(f"{right}WEB_TREADS=4\n")
    run = Terminal("make", "run", cwd=project, BIND=f"127.0.0.1:{free_port()}")
    try:
        run.read_until("did you mean WEB_THREADS?", 60)
        run.drain(2)
        settings.write_text(right)
        run.read_until("Ctrl-C ends it.", 60)
    finally:
        run.interrupt()
    assert run.text.count("WEB_TREADS") == 1


def test_make_demo_again_keeps_what_was_tried_out(clone: Path) -> None:
    port = free_port()
    demo = Terminal("make", "demo", cwd=clone, BIND=f"127.0.0.1:{port}")
    try:
        demo.read_until("serving build/my-service as it is", 60)
        demo.read_until("Ctrl-C ends it.", 60)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert "<h1>New: My Service</h1>" in answer.read().decode()
    finally:
        demo.interrupt()


def test_make_new(clone: Path, tmp_path: Path) -> None:
    (command,) = blocks(TEMPLATE, "README.md", "Generate your own")
    new = Terminal(*command.split(), f"TO={tmp_path}", cwd=clone)
    new.read_until("What is the service called?", 60)
    new.type("Asked For\n" + "\n" * 12)
    new.end()
    assert new.process.returncode == 0, new.text
    assert (tmp_path / "asked-for" / "src" / "asked_for" / "app.py").exists()


def test_the_picture_is_what_make_picture_draws(needs: Callable[..., None]) -> None:
    needs("curl")
    assert draw(record()) == SCREENSHOT.read_text(), "make picture draws another one"


def test_an_old_python_is_told(clone: Path, tmp_path: Path) -> None:
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

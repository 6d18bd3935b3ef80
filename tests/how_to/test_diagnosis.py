"""docs/how-to/diagnosis.md: planted faults are found by the page's own commands."""

import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..support.fixtures import Generate, Needs
from ..support.matrix import SMALLEST
from ..support.process import free_port, run, wait_until_ready
from .steps import DIRECTORY, check, edit, follow, read_steps, set_up

PLANTED = "src/my_service/routes/planted.py"
HANDLERS = '''\
"""A leak of each kind, a loop, and a deadlock."""

import functools
import threading
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime

KEPT: list[dict[str, str]] = []
CALLBACKS: list[Callable[[], str]] = []
FAILURES: list[Exception] = []
LOCAL = threading.local()
TRAIL: ContextVar[list[str]] = ContextVar("TRAIL")


class Registry:
    seen: dict[str, str] = {}


def module_list(clock: Callable[[], datetime]) -> str:
    KEPT.append({"at": clock().isoformat() * 9})
    return ""


@functools.cache
def rendered(at: str) -> str:
    return at * 9


def cache(clock: Callable[[], datetime]) -> str:
    return rendered(clock().isoformat())


def closure(clock: Callable[[], datetime]) -> str:
    text = clock().isoformat() * 9
    CALLBACKS.append(lambda: text)
    return ""


def class_attribute(clock: Callable[[], datetime]) -> str:
    Registry.seen[clock().isoformat()] = clock().isoformat() * 9
    return ""


def exception(clock: Callable[[], datetime]) -> str:
    text = clock().isoformat() * 9
    try:
        raise ValueError(len(text))
    except ValueError as error:
        FAILURES.append(error)
    return ""


def thread_local(clock: Callable[[], datetime]) -> str:
    LOCAL.__dict__.setdefault("texts", []).append(clock().isoformat() * 9)
    return ""


def context_variable(clock: Callable[[], datetime]) -> str:
    TRAIL.set([*TRAIL.get([]), clock().isoformat() * 9])
    return ""


LEAKS = (module_list, cache, closure, class_attribute, exception, thread_local, context_variable)


def planted_leaks(clock: Callable[[], datetime]) -> str:
    return "".join(leak(clock) for leak in LEAKS)


def planted_loop() -> int:
    return sum(number % 7 for number in range(300_000))


def planted_deadlock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
'''
# What keeps the objects, as the page's command prints it.
HOLDERS = {
    "module_list": "my_service.routes.planted > 'KEPT' > list",
    "rendered": "my_service.routes.planted > 'rendered' > rendered > ",
    "closure": "my_service.routes.planted > 'CALLBACKS' > list > ",
    "class_attribute": "my_service.routes.planted.Registry > 'seen' > ",
    "exception": "my_service.routes.planted > 'FAILURES' > list",
    "thread_local": "my_service.routes.planted > 'LOCAL' > _local > ",
    "context_variable": "Context > ",
}


def plant(project: Path) -> None:
    """Add a route for each handler that has a fault."""
    (project / PLANTED).write_text(HANDLERS)
    table = project / "src/my_service/routes/__init__.py"
    lines = [
        f'    app.route("/{name}", "GET", planted.{name}, public=True, status=204)\n'
        for name in ("planted_leaks", "planted_loop", "planted_deadlock")
    ]
    text = table.read_text().replace("from . import ", "from . import planted, ")
    table.write_text(text + "".join(lines))


@contextmanager
def serving(project: Path) -> Iterator[str]:
    """Serve the project as `make run` does, and yield its URL."""
    url = f"http://127.0.0.1:{free_port()}"
    run("make", "migrate", cwd=project)
    process = subprocess.Popen(
        [project / ".venv/bin/python", "-m", "my_service", "serve"],
        cwd=project,
        env={**os.environ, "APP_ENV": "development", "BIND": url.removeprefix("http://")},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until_ready(url)
        yield url
    finally:
        # The deadlock keeps a worker running after its master has exited.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_page_finds_slow_code_and_a_stuck_thread(copied: Generate, needs: Needs) -> None:
    needs("pgrep")
    project = copied()
    table = project / "src/my_service/routes/__init__.py"
    before = table.read_text()
    plant(project)
    set_up(project)
    with serving(project) as url:

        def send(path: str) -> None:
            with suppress(OSError):  # until the service is killed
                while True:
                    urllib.request.urlopen(f"{url}{path}", timeout=60).close()
                    time.sleep(0.05)  # leave most of the processor to the page's commands

        for path in ("/planted_deadlock", "/planted_loop"):
            threading.Thread(target=send, args=[path], daemon=True).start()
        slow, leaks, _, profile, stacks = follow(project, "diagnosis.md")
    assert re.search(r"routes/notes\.py:\d+\(index\)", slow)
    assert "0 leaks" in leaks
    for output in (slow, leaks):
        assert "('200 OK', " in output
    hottest = re.findall(r"^\d+ .*$", profile, re.MULTILINE)
    assert "planted_loop" in "".join(hottest[:2]), profile
    assert re.search(r"planted_deadlock \(.*planted\.py:\d+\)", stacks)
    table.write_text(before)
    (project / PLANTED).unlink()
    check(project, "tests/test_settings.py")  # the page adds no test


def test_command_names_line_and_holder_of_each_leak(copied: Generate) -> None:
    project = copied(**SMALLEST)
    set_up(project)
    for step in read_steps(project / DIRECTORY / "diagnosis.md"):
        if step.language == "python":
            edit(project, step)
    plant(project)
    command = (".venv/bin/python", "-m", "tests.diagnosis", "leaks", "GET", "/planted_leaks")
    output = run(*command, cwd=project, APP_ENV="development")
    found = re.findall(rf"{PLANTED}:(\d+)\n  kept by (.*)", output)
    for name, holder in HOLDERS.items():
        function = HANDLERS.split(f"def {name}(")[1].split("\n\n\n")[0]
        first = HANDLERS[: HANDLERS.index(function)].count("\n") + 1
        lines = range(first, first + function.count("\n") + 1)
        kept = [keeper for number, keeper in found if int(number) in lines]
        assert any(keeper.startswith(holder) for keeper in kept), f"{name}:\n{output}"

"""What shows only after a while: memory that grows, threads that mix, workers that come and go.

SOAK is how many requests are sent in one process; `make soak` sends 200 000.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..support.fixtures import Generate
from ..support.generate import TEMPLATE
from ..support.process import run

SOAK = int(os.environ.get("SOAK", "40000"))
LEAK = 100  # bytes a request
REQUESTS = 20_000
WORKERS = 1000
THREADS = 32

Script = Callable[..., dict[str, Any]]


@pytest.fixture
def script(generated: Generate, tmp_path: Path) -> Script:
    """Return what runs a script of this directory inside the default service."""
    environ = {
        "PYTHONPATH": str(generated() / "src"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "API_TOKENS": ",".join(f"caller-{n:02}:{n:040}" for n in range(THREADS)),
        "ADMIN_TOKEN": "a" * 40,
        "TRUSTED_PROXIES": "1",
        "WEB_THREADS": str(THREADS),
    }

    def started(name: str, *arguments: object) -> dict[str, Any]:
        command = [sys.executable, "-m", f"tests.endurance.{name}", *map(str, arguments)]
        figures = run(*command, cwd=TEMPLATE, **environ).splitlines()[-1]
        print(f"\n{name} {figures}", end="")
        found: dict[str, Any] = json.loads(figures)
        return found

    return started


def grows(figures: dict[str, Any]) -> list[str]:
    """Return which measures grow by more than they may with each request.

    Memory that the process already has hides a small leak from the first one for a while; the
    second one counts what Python has allocated, and shows one object kept in a hundred requests.
    """
    most = {"bytes a request": 5.0, "blocks a request": 0.01}
    return [name for name, limit in most.items() if figures[name] > limit]


def test_memory_does_not_grow(script: Script) -> None:
    assert grows(script("soak", SOAK)) == []


def test_a_leak_is_found(script: Script) -> None:
    found = script("soak", SOAK // 2, LEAK)
    assert grows(found) == ["bytes a request", "blocks a request"]


@pytest.mark.parametrize("which", ["service", "own"])
def test_threads_do_not_mix(script: Script, which: str) -> None:
    found = script("threads", which, REQUESTS)
    assert found["wrong"] == 0, found["first"]


def test_a_mix_up_of_threads_is_found(script: Script) -> None:
    assert script("threads", "own", REQUESTS // 20, "planted")["wrong"] > 0


def test_workers_come_and_go(script: Script) -> None:
    found = script("recycling", WORKERS)
    assert found["wrong"] == 0, found["first"]


@pytest.mark.parametrize("mistake", ["files", "gauges"])
def test_what_workers_leave_behind_is_found(script: Script, mistake: str) -> None:
    found = script("recycling", WORKERS // 10, mistake)
    assert found["wrong"] > 0

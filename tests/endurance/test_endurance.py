"""Endurance: growing memory, mixed threads and replaced workers.

SOAK is the number of requests to one process; `make soak` sends 200 000.
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
    """Return a function that runs a script of this folder inside the default service."""
    environ = {
        "PYTHONPATH": str(generated() / "src"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "API_TOKENS": ",".join(f"client-{n:02}:{n:040}" for n in range(THREADS)),
        "ADMIN_TOKEN": "a" * 40,
        "TRUSTED_PROXY_COUNT": "1",
        "WEB_THREADS": str(THREADS),
    }

    def started(name: str, *arguments: object) -> dict[str, Any]:
        command = [sys.executable, "-m", f"tests.endurance.{name}", *map(str, arguments)]
        figures = run(*command, cwd=TEMPLATE, **environ).splitlines()[-1]
        print(f"\n{name} {figures}", end="")
        found: dict[str, Any] = json.loads(figures)
        return found

    return started


def growing(figures: dict[str, Any]) -> list[str]:
    """Return the measures that grow by more than their limit for each request.

    The process's free memory hides a small leak from the first measure for a while. The second measure
    counts Python's allocated blocks, and shows one leaked object in a hundred requests.
    """
    most = {"bytes a request": 5.0, "blocks a request": 0.01}
    return [name for name, limit in most.items() if figures[name] > limit]


def test_memory_does_not_grow(script: Script) -> None:
    assert growing(script("soak", SOAK)) == []


def test_planted_leak_is_found(script: Script) -> None:
    found = script("soak", SOAK // 2, LEAK)
    assert growing(found) == ["bytes a request", "blocks a request"]


@pytest.mark.parametrize("which", ["service", "own"])
def test_threads_do_not_mix_requests(script: Script, which: str) -> None:
    found = script("threads", which, REQUESTS)
    assert found["wrong"] == 0, found["first"]


def test_planted_mix_up_is_found(script: Script) -> None:
    assert script("threads", "own", REQUESTS // 20, "planted")["wrong"] > 0


def test_replaced_workers_keep_metrics_right(script: Script) -> None:
    found = script("recycling", WORKERS)
    assert found["wrong"] == 0, found["first"]


@pytest.mark.parametrize("mistake", ["files", "gauges"])
def test_planted_leftovers_are_found(script: Script, mistake: str) -> None:
    found = script("recycling", WORKERS // 10, mistake)
    assert found["wrong"] > 0

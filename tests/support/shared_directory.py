"""Directory that all workers of a test run share, and locks between them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

VARIABLE = "SHARED_DIRECTORY"


def set_shared_directory(factory: pytest.TempPathFactory) -> None:
    """Choose the directory: pytest's own of this run, which contains one of each worker."""
    base = factory.getbasetemp()
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    os.environ[VARIABLE] = str(base.parent if is_worker else base)


def shared_directory() -> Path:
    """Return the directory."""
    return Path(os.environ[VARIABLE])


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Wait until no other process of this run is in a block of this name."""
    with (shared_directory() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

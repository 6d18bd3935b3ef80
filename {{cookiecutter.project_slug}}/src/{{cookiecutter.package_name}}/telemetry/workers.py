"""The workers of a server, numbered: a number is free again when its worker has ended.

prometheus_client names its files by process id, so that every recycled worker leaves files behind
for ever. With numbers a new worker counts on in the files of one that ended.
"""

import itertools
import mmap
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

_STATE = struct.Struct("=qq")  # process id, requests that are being answered
_FIRST_SIZE = 2**16  # of a file of counts: room for fifteen sets of labels of a histogram


class Counts(MmapedDict):
    """A file of prometheus_client's, without its holes.

    What is first written into a hole while the disk is full kills the process (mmap(2), SIGBUS).
    Here a file takes its place before it is written to: where there is none that raises OSError,
    and what has been counted before is counted on.
    """

    def __init__(self, filename: str) -> None:
        _fill(filename, _FIRST_SIZE)
        super().__init__(filename)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        # 32 bytes are the most that a value takes beside its key; the file doubles.
        if self._used + len(key.encode()) + 32 > self._capacity:
            _fill(self._fname, 2 * self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


class Worker:
    """This process as a worker: it holds the lowest number that no live worker has."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        with self.undisturbed():
            self._take_number()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Keep other workers from taking a number, or from reading while one does."""
        with Path(self.directory, "lock").open("a") as door:
            _lock(door, wait=True)
            yield

    def _take_number(self) -> None:
        for number in itertools.count():
            file = open(Path(self.directory, f"worker-{number}"), "a+b")  # noqa: SIM115
            if _lock(file):
                break
            file.close()
        self._file = file  # locked for as long as it is open: until this process ends
        self.number = number
        _fill(file.name, _STATE.size)
        self._state = mmap.mmap(file.fileno(), _STATE.size)
        _STATE.pack_into(self._state, 0, os.getpid(), 0)
        mark_process_dead(number, self.directory)  # gauges of the worker before
        # Made here and put in place whole: a reader takes one that is just being made, or whose
        # worker was killed while it made it, for a broken one.
        for kind in ("counter", "gauge_livesum", "histogram", "summary"):
            made, place = (Path(self.directory, name) for name in ("new", f"{kind}_{number}.db"))
            if not place.exists():
                Counts(str(made)).close()  # type: ignore[no-untyped-call]
                made.rename(place)
        vars(values)["MmapedDict"] = Counts
        values.ValueClass = values.MultiProcessValue(lambda: number)

    def tell(self, active: int) -> None:
        """Let the other workers know how many requests this one is answering."""
        self._state[8:] = active.to_bytes(8, sys.byteorder)

    def live(self) -> dict[int, tuple[int, int]]:
        """Return process id and active requests of each live worker by its number."""
        return {number: _STATE.unpack(state) for number, state in self._workers() if state}

    def dead(self) -> list[int]:
        """Return the numbers whose worker has ended."""
        return [number for number, state in self._workers() if not state]

    def _workers(self) -> list[tuple[int, bytes]]:
        found = []
        for path in Path(self.directory).glob("worker-*"):
            number = int(path.name.removeprefix("worker-"))
            with path.open("r+b") as file:
                free = number != self.number and _lock(file)
                found.append((number, b"" if free else file.read()))
        return sorted(found)


def _fill(path: str, size: int) -> None:
    """Make the file at least that large, with zeros that have their place. Raises OSError."""
    with open(path, "ab") as file:
        file.write(bytes(max(0, size - file.tell())))


def _lock(file: IO[Any], wait: bool = False) -> bool:
    """Lock the file (flock(2)), or return False: a live process has it."""
    import fcntl  # only servers with several workers get here, and those are POSIX

    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

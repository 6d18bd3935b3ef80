"""The workers of a server, numbered: a number is free again when its worker has ended.

prometheus_client names its files by process id, so that every recycled worker leaves files behind
for ever. With numbers a new worker counts on in the files of one that ended.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead


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
            file = open(Path(self.directory, f"worker-{number}"), "a+")  # noqa: SIM115
            if _lock(file):
                break
            file.close()
        self._file = file  # locked for as long as it is open: until this process ends
        self.number = number
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        mark_process_dead(number, self.directory)  # gauges of the worker before
        # Made here, because a reader takes one that is just being made for a broken one.
        for kind in ("counter", "gauge_livesum", "histogram", "summary"):
            MmapedDict(str(Path(self.directory, f"{kind}_{number}.db"))).close()
        values.ValueClass = values.MultiProcessValue(lambda: number)

    def live(self) -> dict[int, int]:
        """Return the process id of each live worker by its number."""
        return {number: int(pid) for number, pid in self._workers() if pid}

    def dead(self) -> list[int]:
        """Return the numbers whose worker has ended."""
        return [number for number, pid in self._workers() if not pid]

    def _workers(self) -> list[tuple[int, str]]:
        found = []
        for path in Path(self.directory).glob("worker-*"):
            number = int(path.name.removeprefix("worker-"))
            with path.open("r+") as file:
                free = number != self.number and _lock(file)
                found.append((number, "" if free else file.read()))
        return sorted(found)


def _lock(file: IO[str], wait: bool = False) -> bool:
    """Lock the file (flock(2)), or return False: a live process has it."""
    import fcntl  # only servers with several workers get here, and those are POSIX

    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

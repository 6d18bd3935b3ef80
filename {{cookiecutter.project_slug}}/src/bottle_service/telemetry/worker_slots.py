"""Numbered slots for the workers of a server; a slot is reused after its worker exits.

prometheus_client names its files by process ID, so every recycled worker would leave files behind.
With slots, a new worker goes on counting in the files of one that has exited.
"""

import itertools
import logging
import mmap
import os
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import mark_process_dead

__all__ = ["WorkerSlot", "make_metrics_directory"]

logger = logging.getLogger(__name__)

_STATE = struct.Struct("=qq")  # process ID, requests in flight
_FIRST_SIZE = 2**16  # bytes: enough for fifteen sets of a histogram's labels


def make_metrics_directory(package: str) -> str:
    """Create the directory in which the workers of one server count, and return its path.

    It is in memory, where neither a full nor a slow disk stops a worker. TMPDIR replaces that
    location: set it where the directory of a killed server must be removed by a supervisor.
    """
    memory = "/dev/shm"  # noqa: S108
    in_memory = not os.environ.get("TMPDIR") and os.access(memory, os.W_OK)
    return tempfile.mkdtemp(prefix=f"{package}-metrics-", dir=memory if in_memory else None)


class PreallocatedMmapDict(MmapedDict):
    """A file of prometheus_client without holes.

    The first write to a hole kills the process while the disk is full (mmap(2), SIGBUS). This
    class allocates space before it writes; a full disk raises OSError, and the process goes on
    counting in the space that it has.
    """

    def __init__(self, filename: str) -> None:
        _fill(filename, _FIRST_SIZE)
        super().__init__(filename)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        # A value takes at most 32 bytes besides its key. The file doubles when it is full.
        if self._used + len(key.encode()) + 32 > self._capacity:
            _fill(self._fname, 2 * self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def locate(self, key: str) -> tuple["memoryview[float]", int]:
        """Return the numbers of the file, and the index of this key's value among them.

        They stay valid when the file grows: an older mapping shows the same pages.
        """
        self.read_value(key)  # type: ignore[no-untyped-call]  # creates the value
        return memoryview(self._m).cast("d"), self._positions[key] // 8


def _open_values(directory: str, kind: str, slot: int) -> PreallocatedMmapDict:
    """Return the file of one kind of metric of this slot; make it if it does not exist.

    A complete file is renamed into place: a reader would fail on a file that is half made, also
    if its worker was killed meanwhile.
    """
    path = Path(directory, f"{kind}_{slot}.db")
    if not path.exists():
        new = Path(directory, f"new-{slot}")
        PreallocatedMmapDict(str(new)).close()  # type: ignore[no-untyped-call]
        new.rename(path)
    return PreallocatedMmapDict(str(path))


def _value_class(directory: str, slot: int, files: dict[str, PreallocatedMmapDict]) -> type:
    """Return a class of values in the files of this slot, for prometheus_client.

    `files` are those that are open already, by their kinds.

    prometheus_client's own class looks for a fork at each change and packs the value again, which
    takes four times as long. A worker has its slot after the fork.
    """
    lock = threading.Lock()

    class SharedValue:
        _multiprocess = True

        def __init__(
            self,
            typ: str,
            metric_name: str,
            name: str,
            labelnames: list[str],
            labelvalues: list[str],
            help_text: str,
            multiprocess_mode: str = "",
            **_options: Any,
        ) -> None:
            kind = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
            key = mmap_key(metric_name, name, labelnames, labelvalues, help_text)
            try:
                with lock:
                    if kind not in files:
                        files[kind] = _open_values(directory, kind, slot)
                    self._numbers, self._index = files[kind].locate(key)
            except FileNotFoundError as error:
                # The directory was removed, because the master was killed: the request goes on.
                logger.warning("the metric %s is not counted: %s", metric_name, error)
                self._numbers, self._index = memoryview(bytearray(16)).cast("d"), 0

        def inc(self, amount: float) -> None:
            with lock:
                self._numbers[self._index] += amount

        def set(self, value: float, timestamp: float | None = None) -> None:
            with lock:
                self._numbers[self._index] = value
                self._numbers[self._index + 1] = timestamp or 0.0

        def get(self) -> float:
            return self._numbers[self._index]

        def set_exemplar(self, _exemplar: Any) -> None:
            """Do nothing: the files of workers hold no exemplars."""

        def get_exemplar(self) -> None:
            """Return None: the files of workers hold no exemplars."""

    return SharedValue


class WorkerSlot:
    """The slot of this process: the lowest number that no live worker has.

    `state` is shared with the other workers: process ID, and requests in flight.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        with self.exclusive():
            self._claim_slot()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other workers from claiming a slot, and from reading meanwhile."""
        with Path(self.directory, "lock").open("a") as lock_file:
            _lock(lock_file, wait=True)
            yield

    def _claim_slot(self) -> None:
        for number in itertools.count():
            file = open(Path(self.directory, f"worker-{number}"), "a+b")  # noqa: SIM115
            if _lock(file):
                break
            file.close()
        self._file = file  # keeps the lock until this process exits
        self.number = number
        _fill(file.name, _STATE.size)
        self.state = memoryview(mmap.mmap(file.fileno(), _STATE.size)).cast("q")
        self.state[0], self.state[1] = os.getpid(), 0
        mark_process_dead(number, self.directory)  # removes gauges of the previous worker
        # The usual files are open before the first request, which a full disk would fail.
        kinds = ("counter", "gauge_livesum", "histogram")
        files = {kind: _open_values(self.directory, kind, number) for kind in kinds}
        values.ValueClass = _value_class(self.directory, number, files)

    def live_workers(self) -> dict[int, tuple[int, int]]:
        """Return process ID and requests in flight of each live worker, by its slot."""
        return {number: _STATE.unpack(state) for number, state in self._slots() if state}

    def dead_slots(self) -> list[int]:
        """Return the slots whose worker has exited."""
        return [number for number, state in self._slots() if not state]

    def _slots(self) -> list[tuple[int, bytes]]:
        slots = []
        for path in Path(self.directory).glob("worker-*"):
            number = int(path.name.removeprefix("worker-"))
            with path.open("r+b") as file:
                free = number != self.number and _lock(file)
                slots.append((number, b"" if free else file.read()))
        return sorted(slots)


def _fill(path: str, size: int) -> None:
    """Extend the file to this size with allocated zeros. Raises OSError."""
    with open(path, "ab") as file:
        file.write(bytes(max(0, size - file.tell())))


def _lock(file: IO[Any], wait: bool = False) -> bool:
    """Lock the file (flock(2)), or return False if a live process has locked it."""
    import fcntl  # POSIX only, as are the servers with several workers

    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

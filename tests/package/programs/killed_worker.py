"""One worker counts in the directory; another is killed when it has just opened its first file."""

import sys
from pathlib import Path
from typing import NoReturn

from bottle_service.telemetry import metrics, worker_slots


def killed(path: str) -> NoReturn:
    Path(path).touch()
    raise SystemExit


counting = metrics.Metrics()
worker_slots.PreallocatedMmapDict = killed  # type: ignore[assignment, misc]
try:
    worker_slots.WorkerSlot(sys.argv[1])
except SystemExit:
    print(counting.exposition().decode())

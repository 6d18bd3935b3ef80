"""A worker counts until its disk is full, and then series that it has counted before.

A limit of the file size has the effect of a full disk.
"""

import os
import resource
import sys
from pathlib import Path

from bottle_service.telemetry.exchange import Exchange
from bottle_service.telemetry.metrics import Metrics

counting = Metrics()
resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, 2**18))


def count(status: int) -> None:
    counting.request_started()
    exchange = Exchange({"REQUEST_METHOD": "GET"}, "", 0.0, seconds=0.1, status=status)
    counting.request_finished(exchange)


def has_hole(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        return size > 0 and file.seek(0, os.SEEK_HOLE) < size


try:
    for status in range(200, 600):
        count(status)
        assert not [*filter(has_hole, Path(sys.argv[1]).iterdir())]
except OSError:
    count(200)
    print(counting.exposition().decode())

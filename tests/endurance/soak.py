"""Many requests in one process, and how its resident memory grows: prints a line of JSON.

python -m tests.endurance.soak REQUESTS [LEAK]

With LEAK each request leaves so many bytes behind, to show that it would be found.
"""

import gc
import itertools
import json
import os
import statistics
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .probe import ADMIN, CALLERS, ORIGIN, Ask, own_application, service, standard_error

POINTS = 50  # measured over the second half; the first one warms up
CALLER = {"HTTP_AUTHORIZATION": f"Bearer {CALLERS['caller-00']}"}
CSS, NOTES = "/static/app.css", "/api/v1/notes"
Call = tuple[Any, int, Ask]


def rounds() -> Iterator[Call]:
    """Yield requests of every kind with the application that is asked and the status due."""
    own = own_application(lambda token: token)
    etag = Ask("GET", CSS).of(service).header("Etag")
    sent = {**CALLER, "CONTENT_TYPE": "application/json"}
    yield service, 201, Ask("POST", NOTES, body=b'{"title": "stays"}', headers=sent)
    # A note lives for one round, so that the database does not grow; no id is given twice.
    for number in itertools.count(2):
        mark = f"mark-{number:0240}"  # so long that it shows if one in a round is kept
        note, new = f"{NOTES}/{number}", json.dumps({"title": mark[-99:], "body": mark}).encode()
        yield service, 200, Ask("GET", "/", headers={"HTTP_ACCEPT": "text/html"})
        yield service, 200, Ask("GET", CSS)
        yield service, 304, Ask("GET", CSS, headers={"HTTP_IF_NONE_MATCH": etag})
        yield service, 206, Ask("GET", CSS, headers={"HTTP_RANGE": "bytes=5-9"})
        yield service, 416, Ask("GET", CSS, headers={"HTTP_RANGE": "bytes=9999999-"})
        yield service, 404, Ask("GET", f"/static/{mark}")
        yield service, 404, Ask("GET", f"/nothing/{mark}")
        yield service, 404, Ask("GET", f"/nothing/{mark}", headers={"HTTP_ACCEPT": "text/html"})
        yield service, 400, Ask("GET", f"/{mark}\xff")
        yield service, 405, Ask(f"BREW{number:0240}", "/")
        yield service, 200, Ask("HEAD", "/")
        yield service, 200, Ask("HEAD", CSS)
        yield service, 204, Ask("OPTIONS", note)
        yield service, 200, Ask("GET", "/readyz", mark)
        yield service, 200, Ask("GET", "/livez", headers={"HTTP_COOKIE": f"{mark}=1; b/c=2"})
        yield service, 401, Ask("GET", NOTES)
        yield service, 422, Ask("GET", NOTES, f"{mark}=1", headers=CALLER)
        yield service, 422, Ask("POST", NOTES, body=b'{"%0240d": 1}' % number, headers=sent)
        yield service, 400, Ask("POST", NOTES, body=b'{"title": %d' % number, headers=sent)
        yield service, 415, Ask("POST", NOTES, body=new, headers=CALLER)
        yield service, 413, Ask("POST", NOTES, headers={**sent, "CONTENT_LENGTH": "2000000"})
        yield service, 201, Ask("POST", NOTES, body=new, headers=sent)
        yield service, 200, Ask("GET", NOTES, "limit=5", headers=CALLER)
        yield service, 200, Ask("GET", note, headers=CALLER)
        yield service, 200, Ask("PUT", note, body=new, headers=sent)
        yield service, 204, Ask("DELETE", note, headers=CALLER)
        yield service, 404, Ask("GET", note, headers=CALLER)
        if number % 10 == 0:
            yield service, 200, Ask("GET", "/metrics", headers=ADMIN)
        caller = {"HTTP_AUTHORIZATION": f"Bearer {mark}", "HTTP_ORIGIN": ORIGIN}
        echo = {**caller, "CONTENT_TYPE": "application/json"}
        yield own, 200, Ask("POST", f"/echo/{mark}", f"word={mark}", b'{"word": "x"}', echo)
        yield own, 200, Ask("GET", f"/stream/{mark}", headers=caller)
        yield own, 200, Ask("GET", f"/stream/{mark}", headers=caller, chunks=1)
        for kind, status in (("cut", 200), ("problem", 409), ("fail", 500), ("kept", 200)):
            yield own, status, Ask("GET", f"/{kind}/{mark}", headers=caller)
        yield own, 503, Ask("GET", f"/busy/{mark}", headers=caller)


def told_apart(number: int, ask: Ask) -> Ask:
    """Give the request what no other one has: what is kept of it would add up."""
    own = {
        "HTTP_X_REQUEST_ID": f"request-{number:08}",
        "HTTP_USER_AGENT": f"soak/{number:0240}",
        "HTTP_X_FORWARDED_FOR": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
    }
    return ask._replace(headers={**own, **ask.headers})


def resident() -> int:
    """Return the resident memory in bytes, without what only waits to be collected."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(at: "array[int]", values: "array[int]") -> float:
    """Return the slope of the first or of the second half of the points, the smaller one.

    Each is the median of all pairs (Theil-Sen). A leak is in both halves; what is in one of them
    is a single step, as when Python makes its table of interned names anew.
    """
    points = list(zip(at, values, strict=True))
    return min(
        statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs)
        for pairs in (
            itertools.combinations(points[: POINTS // 2], 2),
            itertools.combinations(points[POINTS // 2 :], 2),
        )
    )


def soak(total: int, leak: int) -> dict[str, Any]:
    leaked: list[bytes] = []
    # Arrays, because integers in a list would be counted among the blocks.
    at, memory, blocks = array("q"), array("q"), array("q")
    statuses: Counter[int] = Counter()
    begun = time.monotonic()
    calls = itertools.islice(rounds(), total)
    for done, (app, status, ask) in enumerate(calls, 1):
        answer = told_apart(done, ask).of(app)
        assert answer.status == status, (ask, answer)
        statuses[status] += 1
        if leak:
            # The object itself takes 33 bytes, and its place in the list 8.
            leaked.append(bytes(leak - 41))
        if done > total // 2 and done % (total // 2 // POINTS) == 0:
            at.append(done)
            memory.append(resident())
            blocks.append(sys.getallocatedblocks())
    return {
        "bytes a request": round(slope(at, memory), 2),
        "blocks a request": round(slope(at, blocks), 4),
        "resident MiB": [round(size / 2**20, 2) for size in (memory[0], memory[-1])],
        "seconds": round(time.monotonic() - begun, 1),
        "statuses": statuses,
    }


if __name__ == "__main__":
    with open(os.devnull, "wb") as nowhere, standard_error(nowhere):
        figures = soak(int(sys.argv[1]), int([*sys.argv, "0"][2]))
    print(json.dumps(figures))

"""Many requests in one process: print the growth of its memory as a line of JSON.

python -m tests.endurance.soak REQUESTS [LEAK]

With LEAK, each request leaks this number of bytes, which the test has to find.
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

from .probe import ADMIN, CLIENTS, ORIGIN, Request, own_application, service, standard_error

POINTS = 50  # measured over the second half; the first one warms up
CLIENT = {"HTTP_AUTHORIZATION": f"Bearer {CLIENTS['client-00']}"}
CSS, NOTES = "/static/app.css", "/api/v1/notes"
NOTE = f"{NOTES}/2"
ANY = {"HTTP_IF_MATCH": "*"}
Call = tuple[Any, int, Request]


def rounds() -> Iterator[Call]:
    """Yield requests of every kind, with their application and the expected status."""
    own = own_application(lambda token: token)
    etag = Request("GET", CSS).send(service).header("Etag")
    sent = {**CLIENT, "CONTENT_TYPE": "application/json"}
    yield service, 201, Request("POST", NOTES, body=b'{"title": "stays"}', headers=sent)
    # Each round deletes its note, so that the database does not grow: the next note has the same ID.
    for number in itertools.count(2):
        mark = f"mark-{number:0240}"  # long, so that the leak of one in a round is measurable
        new = json.dumps({"title": mark[-99:], "body": mark}).encode()
        yield service, 200, Request("GET", "/", headers={"HTTP_ACCEPT": "text/html"})
        yield service, 200, Request("GET", CSS)
        yield service, 304, Request("GET", CSS, headers={"HTTP_IF_NONE_MATCH": etag})
        yield service, 206, Request("GET", CSS, headers={"HTTP_RANGE": "bytes=5-9"})
        yield service, 416, Request("GET", CSS, headers={"HTTP_RANGE": "bytes=9999999-"})
        yield service, 404, Request("GET", f"/static/{mark}")
        yield service, 404, Request("GET", f"/nothing/{mark}")
        yield service, 404, Request("GET", f"/nothing/{mark}", headers={"HTTP_ACCEPT": "text/html"})
        yield service, 400, Request("GET", f"/{mark}\xff")
        yield service, 405, Request(f"BREW{number:0240}", "/")
        yield service, 200, Request("HEAD", "/")
        yield service, 200, Request("HEAD", CSS)
        yield service, 204, Request("OPTIONS", NOTE)
        yield service, 200, Request("GET", "/readyz", mark)
        yield service, 200, Request("GET", "/livez", headers={"HTTP_COOKIE": f"{mark}=1; b/c=2"})
        yield service, 401, Request("GET", NOTES)
        yield service, 422, Request("GET", NOTES, f"{mark}=1", headers=CLIENT)
        yield service, 422, Request("POST", NOTES, body=b'{"%0240d": 1}' % number, headers=sent)
        yield service, 400, Request("POST", NOTES, body=b'{"title": %d' % number, headers=sent)
        yield service, 415, Request("POST", NOTES, body=new, headers=CLIENT)
        yield service, 413, Request("POST", NOTES, headers={**sent, "CONTENT_LENGTH": "2000000"})
        yield service, 201, Request("POST", NOTES, body=new, headers=sent)
        yield service, 200, Request("GET", NOTES, "limit=5", headers=CLIENT)
        yield service, 200, Request("GET", NOTE, headers=CLIENT)
        yield service, 428, Request("PUT", NOTE, body=new, headers=sent)
        yield service, 412, Request("PUT", NOTE, body=new, headers={**sent, "HTTP_IF_MATCH": '"x"'})
        yield service, 200, Request("PUT", NOTE, body=new, headers={**sent, **ANY})
        yield service, 204, Request("DELETE", NOTE, headers={**CLIENT, **ANY})
        yield service, 404, Request("GET", NOTE, headers=CLIENT)
        if number % 10 == 0:
            yield service, 200, Request("GET", "/metrics", headers=ADMIN)
        client = {"HTTP_AUTHORIZATION": f"Bearer {mark}", "HTTP_ORIGIN": ORIGIN}
        echo = {**client, "CONTENT_TYPE": "application/json"}
        yield own, 200, Request("POST", f"/echo/{mark}", f"word={mark}", b'{"word": "x"}', echo)
        yield own, 200, Request("GET", f"/stream/{mark}", headers=client)
        yield own, 200, Request("GET", f"/stream/{mark}", headers=client, chunks=1)
        for kind, status in (("cut", 200), ("problem", 409), ("fail", 500), ("kept", 200)):
            yield own, status, Request("GET", f"/{kind}/{mark}", headers=client)
        yield own, 503, Request("GET", f"/busy/{mark}", headers=client)


def with_unique_headers(number: int, request: Request) -> Request:
    """Add headers that no other request has, so that stored ones add up."""
    own = {
        "HTTP_X_REQUEST_ID": f"request-{number:08}",
        "HTTP_USER_AGENT": f"soak/{number:0240}",
        "HTTP_X_FORWARDED_FOR": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
    }
    return request._replace(headers={**own, **request.headers})


def resident() -> int:
    """Return the resident memory in bytes, after a garbage collection."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(at: "array[int]", values: "array[int]") -> float:
    """Return the smaller of the slopes of the first and of the second half of the points.

    Each slope is the median of all pairs (Theil-Sen). A leak is in both halves. A single step, as when
    Python enlarges its table of interned names, is in one of them.
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
    for done, (app, status, request) in enumerate(calls, 1):
        response = with_unique_headers(done, request).send(app)
        assert response.status == status, (request, response)
        statuses[status] += 1
        if leak:
            # The object itself takes 33 bytes, and its list entry 8.
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

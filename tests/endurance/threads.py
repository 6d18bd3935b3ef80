"""Requests of many threads at once, each with its own mark: print mix-ups as a line of JSON.

python -m tests.endurance.threads service|own REQUESTS [PLANT]

A mark may occur only in its own request's response and log lines, and never in the metrics. With PLANT,
all threads share one request ID, which the test has to find.
"""

import functools
import json
import re
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, NamedTuple

from bottle_service.http import instrumentation
from bottle_service.telemetry.logging import configure_logging

from .probe import ADMIN, CLIENTS, Request, Response, own_application, service, standard_error

THREADS = 32
NOTES = "/api/v1/notes"
NOTE = f"{NOTES}/<note_id:id>"
STATIC = "/static/<path:path>"
NAMES = list(CLIENTS)
COUNT = (
    r'^http_server_request_duration_seconds_count{http_request_method="(\w+)",'
    r'http_response_status_code="(\d+)",http_route="([^"]*)"} (\S+)$'
)
marks = re.compile(r"mark-\d{6}").findall


class Due(NamedTuple):
    """Request, and its expected status, route, client, and number of marks in the response."""

    status: int
    route: str
    client: str | None
    times: int
    request: Request


class Shared:
    """Planted mistake: one value for all threads in the place of the ContextVar."""

    def __init__(self) -> None:
        self.value = ""

    def set(self, value: str) -> None:
        self.value = value

    def get(self) -> str:
        return self.value


def headers_of(number: int, token: str, **more: str) -> dict[str, str]:
    """Return the headers of a request."""
    return {
        "HTTP_X_REQUEST_ID": f"mark-{number:06}",
        "HTTP_USER_AGENT": f"mark-{number:06}",
        "HTTP_X_FORWARDED_FOR": f"10.0.{number >> 8}.{number & 255}",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "CONTENT_TYPE": "application/json",
        **more,
    }


@functools.cache
def service_request(number: int) -> Due:
    """Return a request to the generated service; each thread is its own client."""
    mark, row, thread = f"mark-{number:06}", *divmod(number, THREADS)
    name = NAMES[thread]
    own = headers_of(number, CLIENTS[name])
    any_version = headers_of(number, CLIENTS[name], HTTP_IF_MATCH="*")
    html = headers_of(number, CLIENTS[name], HTTP_ACCEPT="text/html")
    body = json.dumps({"title": mark, "body": mark}).encode()
    wrong = json.dumps({"title": "", mark: 1}).encode()
    kinds = (
        Due(201, NOTES, name, 3, Request("POST", NOTES, "", body, own)),
        Due(200, NOTE, name, 3, Request("PUT", f"{NOTES}/{thread + 1}", "", body, any_version)),
        Due(422, NOTES, name, 3, Request("GET", NOTES, f"{mark}=1", b"", own)),
        Due(422, NOTES, name, 3, Request("POST", NOTES, "", wrong, own)),
        Due(200, NOTES, name, 1, Request("GET", NOTES, "after=999999", b"", own)),
        Due(404, "", None, 2, Request("GET", f"/{mark}", "", b"", own)),
        Due(404, "", None, 2, Request("GET", f"/{mark}", "", b"", html)),
        Due(404, STATIC, None, 2, Request("GET", f"/static/{mark}", "", b"", own)),
        Due(200, STATIC, None, 1, Request("GET", "/static/app.css", mark, b"", own)),
        Due(200, "/", None, 1, Request("GET", "/", mark, b"", html)),
        Due(200, "/readyz", None, 1, Request("GET", "/readyz", mark, b"", own)),
        Due(405, "", None, 2, Request("DELETE", "/livez", mark, b"", own)),
    )
    # Few threads write at a time, because each waits at most 5 s for the database.
    return kinds[(row + thread) % len(kinds) if row else 0]


@functools.cache
def own_request(number: int) -> Due:
    """Return a request to the application with difficult handlers; its token is the mark."""
    mark = f"mark-{number:06}"
    own, html = headers_of(number, mark), headers_of(number, mark, HTTP_ACCEPT="text/html")
    body = json.dumps({"word": mark}).encode()
    kinds = (
        (200, 10, Request("POST", f"/echo/{mark}", f"word={mark}", body, own)),
        (200, 8, Request("GET", f"/stream/{mark}", mark, b"", own)),
        (200, 4, Request("GET", f"/stream/{mark}", mark, b"", own, 2)),
        (200, 3, Request("GET", f"/cut/{mark}", mark, b"", own)),
        (409, 5, Request("GET", f"/problem/{mark}", mark, b"", own)),
        (409, 4, Request("GET", f"/problem/{mark}", mark, b"", html)),
        (500, 2, Request("GET", f"/fail/{mark}", mark, b"", own)),
        (200, 1, Request("GET", f"/kept/{mark}", mark, b"", own)),
        (503, 2, Request("GET", f"/busy/{mark}", mark, b"", own)),
        (503, 2, Request("GET", f"/busy/{mark}", mark, b"", html)),
    )
    status, times, request = kinds[number // THREADS % len(kinds)]
    return Due(status, request.path.replace(mark, "<mark>"), mark, times, request)


def is_wrong(number: int, due: Due, response: Response) -> bool:
    length = int(dict(response.headers).get("Content-Length", len(response.body)))
    found = marks(response.text())
    expected = (due.status, [f"mark-{number:06}"] * due.times, len(response.body))
    return (response.status, found, length) != expected


def send_all(app: Any, dues: Callable[[int], Due], total: int) -> Iterator[str]:
    """Send the requests from all threads; yield the wrong responses."""
    wrong: list[str] = []

    def work(numbers: Iterable[int]) -> None:
        for number in numbers:
            due = dues(number)
            response = due.request.send(app)
            if is_wrong(number, due, response):
                wrong.append(f"{number}: {response}")

    work(range(THREADS))  # these create the notes that the others change
    threads = [
        threading.Thread(target=work, args=[range(THREADS + first, total, THREADS)])
        for first in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield from wrong


def wrong_lines(log: IO[bytes], dues: Callable[[int], Due], total: int) -> Iterator[str]:
    """Yield log lines with values of another request, and requests without log lines."""
    seen: Counter[tuple[int, bool]] = Counter()
    expected: Counter[tuple[int, bool]] = Counter()
    for number in range(total):
        expected[number, True] = 1
        if re.match("/(fail|cut|busy)/", dues(number).request.path):
            expected[number, False] = 1
    for line in log:
        entry = json.loads(line)
        mark = entry.get("http.request.id", "")
        number = int(mark.partition("-")[2] or -1)
        due = dues(number)
        access = entry["log.logger"] == "access"
        seen[number, access] += 1
        if set(marks(line.decode())) != {mark}:
            yield line.decode()
        elif access:
            fields = ("http.response.status_code", "http.route", "user.name", "client.ip")
            expected_values = (
                due.status,
                due.route or None,
                due.client,
                f"10.0.{number >> 8}.{number & 255}",
            )
            if tuple(map(entry.get, fields)) != expected_values:
                yield line.decode()
        elif entry.get("error.message", "") != ("" if "/busy/" in due.request.path else mark):
            yield line.decode()
    yield from map(str, (seen - expected) + (expected - seen))


def wrong_metrics(text: str, dues: Callable[[int], Due], total: int) -> Iterator[str]:
    """Yield wrong counts in the metrics, and marks in them."""
    yield from marks(text)
    expected: Counter[tuple[str, str, str]] = Counter()
    for due in map(dues, range(total)):
        expected[due.request.method, str(due.status), due.route] += 1
    counted = {found[:3]: float(found[3]) for found in re.findall(COUNT, text, re.MULTILINE)}
    if counted != expected:
        yield f"{counted} is not {expected}"
    if "\nhttp_server_active_requests 1.0\n" not in text:  # the request of the metrics itself
        yield text


def main() -> None:
    which, total = sys.argv[1], int(sys.argv[2])
    if len(sys.argv) > 3:
        shared = Shared()
        setattr(instrumentation, "request_id", shared)  # noqa: B010 - mypy rejects an assignment
        configure_logging("planted", "", log_format="json", log_level="INFO", request_id=shared.get)
    app, dues = (
        (service, service_request) if which == "service" else (own_application(str), own_request)
    )
    sys.setswitchinterval(1e-4)  # threads switch far more often than by default
    with tempfile.TemporaryFile() as log:
        with standard_error(log):
            wrong = [*send_all(app, dues, total)]
        log.seek(0)
        wrong += wrong_lines(log, dues, total)
    wrong += wrong_metrics(
        Request("GET", "/metrics", headers=ADMIN).send(app).body.decode(), dues, total
    )
    print(json.dumps({"wrong": len(wrong), "first": wrong[:3]}))


if __name__ == "__main__":
    main()

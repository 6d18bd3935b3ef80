"""Requests of many threads at once, each with a mark of its own: prints a line of JSON.

python -m tests.endurance.threads service|own REQUESTS [PLANT]

A mark must come back with its own request and nowhere else: in the answer, the log, the metrics.
With PLANT the request id is kept where all threads share it, to show that it would be found.
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

from my_service.telemetry import logs
from my_service.web import observe
from my_service.wsgi import settings

from .probe import ADMIN, CALLERS, Answer, Ask, own_application, service, standard_error

THREADS = 32
NOTES = "/api/v1/notes"
NOTE = f"{NOTES}/<note_id:id>"
STATIC = "/static/<path:path>"
NAMES = list(CALLERS)
COUNT = (
    r'^http_server_request_duration_seconds_count{http_request_method="(\w+)",'
    r'http_response_status_code="(\d+)",http_route="([^"]*)"} (\S+)$'
)
marks = re.compile(r"mark-\d{6}").findall


class Due(NamedTuple):
    """A request, and what is due: status, route, caller, and how often the answer has its mark."""

    status: int
    route: str
    caller: str | None
    times: int
    ask: Ask


class Shared:
    """What the ContextVar of the request id must not be: one value for all threads."""

    def __init__(self) -> None:
        self.value = ""

    def set(self, value: str) -> None:
        self.value = value

    def get(self) -> str:
        return self.value


def of(number: int, token: str, **more: str) -> dict[str, str]:
    """Return the headers of this request."""
    return {
        "HTTP_X_REQUEST_ID": f"mark-{number:06}",
        "HTTP_USER_AGENT": f"mark-{number:06}",
        "HTTP_X_FORWARDED_FOR": f"10.0.{number >> 8}.{number & 255}",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "CONTENT_TYPE": "application/json",
        **more,
    }


@functools.cache
def of_the_service(number: int) -> Due:
    """Return a request to the generated service, where each thread has its own caller."""
    mark, row, thread = f"mark-{number:06}", *divmod(number, THREADS)
    name = NAMES[thread]
    own = of(number, CALLERS[name])
    html = of(number, CALLERS[name], HTTP_ACCEPT="text/html")
    body = json.dumps({"title": mark, "body": mark}).encode()
    wrong = json.dumps({"title": "", mark: 1}).encode()
    kinds = (
        Due(201, NOTES, name, 3, Ask("POST", NOTES, "", body, own)),
        Due(200, NOTE, name, 3, Ask("PUT", f"{NOTES}/{thread + 1}", "", body, own)),
        Due(422, NOTES, name, 3, Ask("GET", NOTES, f"{mark}=1", b"", own)),
        Due(422, NOTES, name, 3, Ask("POST", NOTES, "", wrong, own)),
        Due(200, NOTES, name, 1, Ask("GET", NOTES, "after=999999", b"", own)),
        Due(404, "", None, 2, Ask("GET", f"/{mark}", "", b"", own)),
        Due(404, "", None, 2, Ask("GET", f"/{mark}", "", b"", html)),
        Due(404, STATIC, None, 2, Ask("GET", f"/static/{mark}", "", b"", own)),
        Due(200, STATIC, None, 1, Ask("GET", "/static/app.css", mark, b"", own)),
        Due(200, "/", None, 1, Ask("GET", "/", mark, b"", html)),
        Due(200, "/readyz", None, 1, Ask("GET", "/readyz", mark, b"", own)),
        Due(405, "", None, 2, Ask("DELETE", "/livez", mark, b"", own)),
    )
    # Few of them write at a time: each waits 5 s at most for its turn.
    return kinds[(row + thread) % len(kinds) if row else 0]


@functools.cache
def of_our_own(number: int) -> Due:
    """Return a request to the application whose handlers do worse; its token is the mark."""
    mark = f"mark-{number:06}"
    own, html = of(number, mark), of(number, mark, HTTP_ACCEPT="text/html")
    body = json.dumps({"word": mark}).encode()
    kinds = (
        (200, 10, Ask("POST", f"/echo/{mark}", f"word={mark}", body, own)),
        (200, 8, Ask("GET", f"/stream/{mark}", mark, b"", own)),
        (200, 4, Ask("GET", f"/stream/{mark}", mark, b"", own, 2)),
        (200, 3, Ask("GET", f"/cut/{mark}", mark, b"", own)),
        (409, 5, Ask("GET", f"/problem/{mark}", mark, b"", own)),
        (409, 4, Ask("GET", f"/problem/{mark}", mark, b"", html)),
        (500, 2, Ask("GET", f"/fail/{mark}", mark, b"", own)),
        (200, 1, Ask("GET", f"/kept/{mark}", mark, b"", own)),
        (503, 2, Ask("GET", f"/busy/{mark}", mark, b"", own)),
        (503, 2, Ask("GET", f"/busy/{mark}", mark, b"", html)),
    )
    status, times, ask = kinds[number // THREADS % len(kinds)]
    return Due(status, ask.path.replace(mark, "<mark>"), mark, times, ask)


def wrong_answer(number: int, due: Due, answer: Answer) -> bool:
    length = int(dict(answer.headers).get("Content-Length", len(answer.body)))
    told = marks(answer.text())
    right = (due.status, [f"mark-{number:06}"] * due.times, len(answer.body))
    return (answer.status, told, length) != right


def ask_all(app: Any, dues: Callable[[int], Due], total: int) -> Iterator[str]:
    """Send so many requests from all threads, and yield the answers that are wrong."""
    wrong: list[str] = []

    def work(numbers: Iterable[int]) -> None:
        for number in numbers:
            due = dues(number)
            answer = due.ask.of(app)
            if wrong_answer(number, due, answer):
                wrong.append(f"{number}: {answer}")

    work(range(THREADS))  # they create what the others change
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
    """Yield the lines that tell of another request, and the requests without their lines."""
    seen: Counter[tuple[int, bool]] = Counter()
    expected: Counter[tuple[int, bool]] = Counter()
    for number in range(total):
        expected[number, True] = 1
        if re.match("/(fail|cut|busy)/", dues(number).ask.path):
            expected[number, False] = 1
    for line in log:
        told = json.loads(line)
        mark = told.get("http.request.id", "")
        number = int(mark.partition("-")[2] or -1)
        due = dues(number)
        access = told["log.logger"] == "access"
        seen[number, access] += 1
        if set(marks(line.decode())) != {mark}:
            yield line.decode()
        elif access:
            fields = ("http.response.status_code", "http.route", "user.name", "client.ip")
            right = (
                due.status,
                due.route or None,
                due.caller,
                f"10.0.{number >> 8}.{number & 255}",
            )
            if tuple(map(told.get, fields)) != right:
                yield line.decode()
        elif told.get("error.message", "") != ("" if "/busy/" in due.ask.path else mark):
            yield line.decode()
    yield from map(str, (seen - expected) + (expected - seen))


def wrong_metrics(text: str, dues: Callable[[int], Due], total: int) -> Iterator[str]:
    """Yield what the metrics count otherwise than it was, and marks in them."""
    yield from marks(text)
    expected: Counter[tuple[str, str, str]] = Counter()
    for due in map(dues, range(total)):
        expected[due.ask.method, str(due.status), due.route] += 1
    counted = {found[:3]: float(found[3]) for found in re.findall(COUNT, text, re.MULTILINE)}
    if counted != expected:
        yield f"{counted} is not {expected}"
    if "\nhttp_server_active_requests 1.0\n" not in text:  # the one that asks
        yield text


def main() -> None:
    which, total = sys.argv[1], int(sys.argv[2])
    if len(sys.argv) > 3:
        observe.request_id = shared = Shared()
        logs.configure(settings, "planted", shared.get)
    app, dues = (
        (service, of_the_service) if which == "service" else (own_application(str), of_our_own)
    )
    sys.setswitchinterval(1e-4)  # threads take turns far more often than they would
    with tempfile.TemporaryFile() as log:
        with standard_error(log):
            wrong = [*ask_all(app, dues, total)]
        log.seek(0)
        wrong += wrong_lines(log, dues, total)
    wrong += wrong_metrics(Ask("GET", "/metrics", headers=ADMIN).of(app).body.decode(), dues, total)
    print(json.dumps({"wrong": len(wrong), "first": wrong[:3]}))


if __name__ == "__main__":
    main()

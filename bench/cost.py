"""Measure the cost of a request inside the process, as a Markdown table: `make bench`.

All cases run in turn in each round, and the figures are the medians of the rounds' ratios: a
machine that is shared slows all of them down alike. Nothing is sent: the figure is the processor
time of a call of the WSGI application. The environ is Gunicorn's for a request through Nginx, the
access log goes to /dev/null, and metrics are those of several workers.
"""

import io
import logging
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

# prometheus_client decides at its import whether it counts for one worker or for several.
COUNTS = tempfile.TemporaryDirectory()
os.environ |= {"PROMETHEUS_MULTIPROC_DIR": COUNTS.name, "SERVE_NAME": "cost"}

import bottle  # noqa: E402
from msgspec import Struct  # noqa: E402
from prometheus_client import CollectorRegistry, Counter, Histogram  # noqa: E402
from pythonjsonlogger.json import JsonFormatter  # noqa: E402

TEMPLATE = Path(__file__).parents[1]
sys.path.insert(0, str(TEMPLATE))

from tests.support.generate import generate  # noqa: E402

ROUNDS, CALLS = 150, 200
BODY = b'{"name": "Ada", "count": 3, "tags": ["a", "b"]}'
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/thing",
    "QUERY_STRING": "",
    "RAW_URI": "/thing",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "my-service.example.com",
    "SERVER_PORT": "443",
    "REMOTE_ADDR": "",
    "HTTP_HOST": "my-service.example.com",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "HTTP_ACCEPT": "application/json",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
    "HTTP_X_FORWARDED_FOR": "203.0.113.9",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": "my-service.example.com",
    "HTTP_X_REQUEST_ID": "0123456789abcdef0123456789abcdef",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
}
POST = {
    **ENVIRON,
    "REQUEST_METHOD": "POST",
    "CONTENT_TYPE": "application/json",
    "CONTENT_LENGTH": str(len(BODY)),
}

Application = Callable[[dict[str, Any], Any], Any]
Case = tuple[Application, dict[str, Any]]


class Thing(Struct):
    name: str
    count: int
    tags: list[str]


def show() -> dict[str, Any]:
    return {"name": "Ada", "count": 3, "tags": ["a", "b"]}


def create(body: Thing) -> Thing:
    return body


def create_by_hand() -> Any:
    """Do the same as `create`, with Bottle alone."""
    body = bottle.request.json
    if (
        not isinstance(body, dict)
        or not isinstance(body.get("name"), str)
        or not isinstance(body.get("count"), int)
        or not isinstance(body.get("tags"), list)
        or not all(isinstance(tag, str) for tag in body["tags"])
    ):
        bottle.abort(422, "not a thing")
    return {"name": body["name"], "count": body["count"], "tags": body["tags"]}


def plain() -> bottle.Bottle:
    app = bottle.Bottle()
    app.route("/thing", "GET", show)
    app.route("/thing", "POST", create_by_hand)
    return app


def tutorial() -> bottle.Bottle:
    """Return the service's features, made of hooks and the libraries that tutorials name."""
    from bottle_service.http.security_headers import DEFAULT_HEADERS

    app = plain()
    logger = logging.getLogger("tutorial")
    handler = logging.StreamHandler(open(os.devnull, "w"))  # noqa: SIM115
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    labels = ("method", "route", "status")
    registry = CollectorRegistry()
    count = Counter("requests", "Requests.", labels, registry=registry)
    seconds = Histogram("seconds", "Duration.", labels, registry=registry)

    @app.hook("before_request")  # type: ignore[untyped-decorator]
    def before() -> None:
        request = bottle.request
        request.environ["begun"] = time.perf_counter()
        request.environ["id"] = request.get_header("X-Request-ID") or str(uuid.uuid4())

    @app.hook("after_request")  # type: ignore[untyped-decorator]
    def after() -> None:
        request, response = bottle.request, bottle.response
        for name, value in DEFAULT_HEADERS:
            response.set_header(name, value)
        response.set_header("X-Request-ID", request.environ["id"])
        took = time.perf_counter() - request.environ["begun"]
        values = request.method, request.route.rule, str(response.status_code)
        count.labels(*values).inc()
        seconds.labels(*values).observe(took)
        logger.info(
            "request",
            extra={
                "request_id": request.environ["id"],
                "method": request.method,
                "path": request.path,
                "status": response.status_code,
                "duration": took,
                "client": request.remote_addr,
                "user_agent": request.get_header("User-Agent"),
            },
        )

    return app


def stack(directory: Path) -> list[tuple[str, Application]]:
    """Return the service's middleware, each together with everything inside it."""
    from bottle_service.http import build_http_application
    from bottle_service.http.instrumentation import InstrumentationMiddleware
    from bottle_service.http.problems import ProblemRenderer
    from bottle_service.telemetry.access_log import AccessLog
    from bottle_service.telemetry.metrics import Metrics
    from bottle_service.views import Views

    def add_routes(app: bottle.Bottle) -> None:
        app.route("/thing", "GET", show, public=True)
        app.route("/thing", "POST", create, public=True)

    metrics, access = Metrics(), AccessLog("my-service", "", "json", "INFO")
    whole = build_http_application(
        add_routes,
        dependencies={},
        authenticate_client=lambda _token: None,
        authenticate_admin=None,
        problem_renderer=ProblemRenderer(Views(directory)),
        recorders=[metrics, access],
        cors_origins=[],
        trusted_proxy_count=1,
        max_body_bytes=2**20,
    ).wsgi
    layers: list[Application] = [whole]
    while inner := getattr(layers[0], "_app", None):
        layers.insert(0, inner)
    names = ["Bottle with typed handlers"]
    names += [type(layer).__name__.removesuffix("Middleware") for layer in layers[1:-1]]
    outermost = layers[-2]
    return [
        *zip(names, layers[:-1], strict=True),
        ("request ID, headers", InstrumentationMiddleware(outermost, [])),
        ("metrics", InstrumentationMiddleware(outermost, [metrics])),
        ("access log", whole),
    ]


def timed(case: Case) -> float:
    """Return microseconds of processor time a call."""
    application, environ = case
    begun = time.process_time()
    for _ in range(CALLS):
        application({**environ, "wsgi.input": io.BytesIO(BODY), "service.request_id": ""}, start)
    return (time.process_time() - begun) / CALLS * 1e6


def start(_status: str, _headers: Any, _exc_info: Any = None) -> None:
    pass


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        project = generate(Path(directory), {})
        sys.path.insert(0, str(project / "src"))
        layers, by_tutorial = stack(project / "src/my_service/views"), tutorial()
    cases: dict[str, Case] = {
        "nothing": (lambda _environ, _start: [], ENVIRON),
        "plain": (plain(), ENVIRON),
        "tutorial": (by_tutorial, ENVIRON),
        "plain POST": (plain(), POST),
        "service POST": (layers[-1][1], POST),
        **{name: (layer, ENVIRON) for name, layer in layers},
    }
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)  # where the access line goes
    try:
        rounds = [{name: timed(case) for name, case in cases.items()} for _ in range(ROUNDS + 1)]
    finally:
        os.dup2(stderr, 2)
    for one in rounds:
        nothing = one.pop("nothing")
        for name in one:
            one[name] -= nothing

    def median(figure: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(figure(one) for one in rounds[1:])

    whole = layers[-1][0]
    get = median(lambda one: one[whole] / one["plain"])
    added = median(lambda one: (one[whole] - one["plain"]) / (one["tutorial"] - one["plain"]))
    post = median(lambda one: one["service POST"] / one["plain POST"])
    print("| a request inside the process | figure |\n|---|---|")
    print(f"| GET of a small JSON, against plain Bottle | {get:.2f} x |")
    print(
        f"| added time of this GET, against Bottle with hooks and the usual libraries | {added:.2f} x |"
    )
    print(f"| POST of a typed JSON, against plain Bottle with manual checks | {post:.2f} x |")
    print("\n| part of the GET | µs | share of plain Bottle |\n|---|---|---|")
    before = 0.0
    for name, _ in layers:
        price = median(lambda one, name=name: one[name]) - before  # type: ignore[misc]
        share = price / median(lambda one: one["plain"])
        print(f"| {name} | {price:.1f} | {share:.2f} |")
        before += price


if __name__ == "__main__":
    main()

"""Routes of the sample service: one of each kind."""

import time
from collections.abc import Iterator

from bottle import Bottle, HTTPResponse
from msgspec import Struct

from bottle_service.assets import Assets
from bottle_service.telemetry.metrics import Metrics
from bottle_service.views import Views


class GreetingCreate(Struct, forbid_unknown_fields=True):
    name: str


class GreetingOut(Struct):
    greeting: str


def home(views: Views) -> HTTPResponse:
    return views.page("home")


def static(path: str, assets: Assets) -> HTTPResponse:
    return assets.serve(path)


def live() -> dict[str, str]:
    return {"status": "ok"}


def metrics(metrics: Metrics) -> HTTPResponse:
    return HTTPResponse(metrics.exposition(), headers={"Content-Type": "text/plain"})


def greet(body: GreetingCreate, metrics: Metrics) -> GreetingOut:
    metrics.counter("greetings_total", "Greetings sent.").inc()
    metrics.histogram("name_characters", "Length of names.", buckets=(5, 10)).observe(
        len(body.name)
    )
    metrics.gauge("greeters_sum", "Workers that have greeted.").set(1)
    metrics.gauge("longest_name", "", workers="max").set(len(body.name))
    metrics.gauge("shortest_name", "", workers="min").set(len(body.name))
    metrics.gauge("latest_name", "", workers="latest").set(len(body.name))
    return GreetingOut(greeting=f"Hello, {body.name}!")


def slow() -> dict[str, str]:
    time.sleep(3)
    return {"status": "ok"}


def broken_stream(headers: dict[str, str]) -> HTTPResponse:
    def chunks() -> Iterator[bytes]:
        yield b"first"
        raise RuntimeError("the stream broke off")

    return HTTPResponse(chunks(), headers=headers)


def broken_chunks() -> HTTPResponse:
    return broken_stream({})


def broken_file() -> HTTPResponse:
    return broken_stream({"Content-Length": "100"})


def events() -> HTTPResponse:
    def chunks() -> Iterator[bytes]:
        yield b"data: first\n\n"
        time.sleep(60)

    # Media types are case-insensitive: RFC 9110, section 8.3.1.
    return HTTPResponse(chunks(), headers={"Content-Type": "Text/Event-Stream"})


def add_routes(app: Bottle) -> None:
    app.route("/", "GET", home, public=True)
    app.route("/static/<path:path>", "GET", static, public=True)
    app.route("/livez", "GET", live, public=True)
    app.route("/metrics", "GET", metrics, admin=True)
    app.route("/greetings", "POST", greet)
    app.route("/slow", "GET", slow, public=True)
    app.route("/broken-chunks", "GET", broken_chunks, public=True)
    app.route("/broken-file", "GET", broken_file, public=True)
    app.route("/events", "GET", events, public=True)

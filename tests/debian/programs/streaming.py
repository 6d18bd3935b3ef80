"""Wrapper of create_app that adds GET /stream, an endless event stream; a test adds it to a release."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from bottle import HTTPResponse

Create = Callable[..., Any]


def streaming(create_app: Create) -> Create:
    """Return a create_app whose routing table has one line more."""

    def create(settings: Any) -> Any:
        from my_service.routes import add_routes

        def add_more_routes(app: Any) -> None:
            add_routes(app)
            app.route("/stream", "GET", stream, raw=True, public=True)

        return create_app(settings, add_more_routes)

    return create


def stream() -> HTTPResponse:
    def events() -> Iterator[bytes]:
        while True:
            yield b"data: tick\n\n"
            time.sleep(0.2)

    headers = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
    return HTTPResponse(events(), headers=headers)

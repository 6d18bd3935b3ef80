"""Hostile requests to applications in this process; each response is checked with its log line.

    PYTHONPATH=PROJECT/src python -m tests.fuzz.application APPLICATION COUNT SEED

prints the number of responses with each status. It exits with 1 at the first wrong response.
"""

import json
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from typing import Any
from wsgiref.validate import WSGIWarning, validator

import bottle
from msgspec import Struct
from my_service.app import SERVICE
from my_service.settings import Settings

from bottle_service.assets import Assets
from bottle_service.http import Upload, build_http_application
from bottle_service.http.problems import ProblemRenderer
from bottle_service.telemetry.access_log import AccessLog
from bottle_service.views import Views

from .requests import Hostile, Request, check_log, check_response, too_large, unclean
from .words import LIMIT, TOKEN

settings = Settings.load(
    {
        "APP_ENV": "test",
        "API_TOKENS": f"tester:{TOKEN}",
        "ADMIN_TOKEN": TOKEN,
        "MAX_BODY_BYTES": str(LIMIT),
        "TRUSTED_PROXY_COUNT": "1",
    }
)

STATIC_DIRECTORY, VIEWS_DIRECTORY = SERVICE.directory / "static", SERVICE.directory / "views"
PUBLIC = ["GET /", "GET /livez", "GET /readyz", "GET /static/<path>", "GET /static/app.css"]
GREETINGS = ["GET /<>", *["POST /api/v1/greetings"] * 5]
NOTES = ["GET /<>", "GET /api/v1/notes", *["POST /api/v1/notes"] * 3, "GET /api/v1/notes/<id>"]
NOTES += ["PUT /api/v1/notes/<id>", "PUT /api/v1/notes/1", "DELETE /api/v1/notes/<id>"]
OWN = [
    "POST /form",
    "POST /form",
    "GET /query",
    "HEAD /query",
    "POST /body",
    "POST /body",
    "POST /any",
]
OWN += ["GET /echo", "POST /echo", "GET /moved/<>/", "GET /app.css", "GET /<path>"]
TARGETS = {
    "service": PUBLIC + (NOTES if SERVICE.has_database else GREETINGS),
    "own": OWN,
    "plain": PUBLIC + NOTES + OWN,
}


class Inner(Struct):
    number: int = 0


class Thing(Struct):
    """Struct with a field of each type that text is converted to."""

    name: str
    count: int = 1
    ratio: float | None = None
    number: Decimal | None = None
    when: datetime | None = None
    tags: list[str] = []
    inner: list[Inner] = []


class Form(Struct):
    name: str
    count: int = 1
    photo: Upload | None = None


def form(form: Form) -> dict[str, Any]:
    photo = form.photo
    return {"name": form.name, "count": form.count, "photo": photo and [photo.filename, photo.size]}


def read_query(query: Thing) -> Thing:
    return query


def read_body(body: Thing) -> Thing:
    return body


def read_any(body: Any) -> list[Any]:
    return [body]


def echo() -> dict[str, Any]:
    """Return the values that Bottle parses, as a raw handler does."""
    request = bottle.request
    cookies = {name: request.cookies[name] for name in request.cookies}
    return {"cookies": cookies, "headers": dict(request.headers), "length": request.content_length}


def service() -> Any:
    """Return the generated service."""
    if SERVICE.has_database:
        with closing(SERVICE.open_database(settings)) as database:
            database.migrate()
    return SERVICE.create_app(settings)


def own() -> Any:
    """Return an application that uses each parser."""
    assets = Assets(STATIC_DIRECTORY, fingerprints=True)

    def static(path: str) -> Any:
        return assets.serve(path)

    def add_routes(app: bottle.Bottle) -> None:
        app.route("/form", ["POST", "PUT"], form, public=True)
        app.route("/query", "GET", read_query, public=True)
        app.route("/body", ["POST", "PUT"], read_body, public=True)
        app.route("/any", "POST", read_any, public=True)
        app.route("/echo", ["GET", "POST"], echo, raw=True, public=True)
        app.route("/moved/<name>", "GET", lambda name: [name], public=True, redirect_slashes=True)
        app.route("/<path:path>", "GET", static, public=True)

    return build_http_application(
        add_routes,
        dependencies={},
        authenticate_client=settings.api_tokens.authenticate,
        authenticate_admin=None,
        problem_renderer=ProblemRenderer(Views(VIEWS_DIRECTORY, asset=assets.url)),
        recorders=[AccessLog("own", "", "json", "INFO")],
        cors_origins=["https://app.example.com"],
        trusted_proxy_count=1,
        max_body_bytes=LIMIT,
    )


def plain() -> Any:
    """Return plain Bottle with the same routes and careful handlers."""
    request, app = bottle.request, bottle.Bottle()

    def page(**_: Any) -> str:
        return "page"

    def create(**_: Any) -> dict[str, Any]:
        data = request.json
        return {"name": data.get("name") if isinstance(data, dict) else None}

    def fields(**_: Any) -> dict[str, Any]:
        return {"name": request.forms.get("name"), "files": len(request.files)}

    for rule in ("/", "/livez", "/readyz", "/health", "/metrics", "/moved/<name>/"):
        app.route(rule, "GET", page)
    for rule in ("/api/v1/notes", "/api/v1/greetings", "/body", "/any", "/api/v1/notes/<id:int>"):
        app.route(rule, ["POST", "PUT"], create)
    for rule in ("/api/v1/notes", "/query", "/api/v1/notes/<id:int>"):
        app.route(rule, "GET", lambda **_: {"limit": request.query.get("limit", 20, type=int)})
    app.route("/form", ["POST", "PUT"], fields)
    app.route("/echo", ["GET", "POST"], echo)
    for rule in ("/static/<path:path>", "/<path:path>"):
        app.route(rule, "GET", lambda path: bottle.static_file(path, root=str(STATIC_DIRECTORY)))
    return app


Response = tuple[int, list[tuple[str, str]], bytes]


def call(app: Any, request: Request) -> Response:
    """Call the application, with wsgiref's validator if the request follows the rules of WSGI."""
    path, length = request.environ["PATH_INFO"], request.environ.get("CONTENT_LENGTH", "")
    if path.startswith("/") and re.fullmatch("[0-9]{0,16}", length, re.ASCII):
        app = validator(app)
    started: list[Any] = []
    chunks = app(request.wsgi(), lambda status, headers, _=None: started.extend([status, headers]))
    try:
        body = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    status, headers = started[-2:]
    return int(status[:3]), headers, body


def check(request: Request, response: Response, log: bytes) -> None:
    status, headers, body = response
    path, accept = request.environ["PATH_INFO"], request.environ.get("HTTP_ACCEPT", "")
    check_response(status, headers, body, head=request.environ["REQUEST_METHOD"] == "HEAD")
    if unclean(path):
        assert status == 400
    elif too_large(request):
        assert status in (411, 413)
    values = {name.lower(): value for name, value in headers}
    if status >= 400 and values["content-type"].startswith("text/html"):
        assert "text/html" in accept
        assert not re.match("/api(/|$)", path)
    (line,) = check_log(log)
    assert line["http.request.id"] == values["x-request-id"]
    assert line["http.response.status_code"] == status


def main(name: str, count: int, seed: str) -> None:
    warnings.simplefilter("ignore", WSGIWarning)
    log, end = tempfile.TemporaryFile(), 0  # noqa: SIM115
    stderr = os.dup(2)
    os.dup2(log.fileno(), 2)
    SERVICE.configure_logging(settings)
    makers: dict[str, Callable[[], Any]] = {"service": service, "own": own, "plain": plain}
    app = makers[name]()
    end = os.fstat(2).st_size
    hostile, statuses = Hostile(f"{seed} {name}", TARGETS[name]), Counter[int]()
    for number in range(count):
        request, response, lines = hostile.request(), None, b""
        try:
            response = call(app, request)
            statuses[response[0]] += 1
            if name != "plain":
                lines = os.pread(log.fileno(), 2**20, end)
                end += len(lines)
                check(request, response, lines)
        except Exception:
            if name == "plain":
                statuses[0] += 1
                continue
            lines = lines or os.pread(log.fileno(), 2**20, end)
            os.dup2(stderr, 2)
            print(f"FUZZ_SEED={seed}: request {number} to {name}: {request}\nresponse: {response}")
            print(f"log: {lines!r}\n{traceback.format_exc()}")
            sys.exit(1)
    print(json.dumps(statuses))


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])

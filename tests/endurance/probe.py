"""WSGI client of the endurance tests, and an application with difficult handlers.

Import this only with a generated project on the path.
"""

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, NoReturn

from bottle import Bottle, HTTPResponse, request, response
from msgspec import Struct
from my_service.app import SERVICE
from my_service.wsgi import app

from bottle_service.http import FieldError, Problem, build_http_application
from bottle_service.http.auth import Authenticator
from bottle_service.http.problems import ProblemRenderer
from bottle_service.telemetry.access_log import AccessLog
from bottle_service.telemetry.metrics import Metrics
from bottle_service.views import Views

service = app
settings = SERVICE.settings.load(os.environ)
with contextlib.closing(SERVICE.open_database(settings)) as database:
    database.migrate()

ORIGIN = "https://app.example.com"
# Clients by name, and the token of each.
CLIENTS = dict(pair.split(":") for pair in os.environ["API_TOKENS"].split(","))
ADMIN = {"HTTP_AUTHORIZATION": f"Bearer {os.environ['ADMIN_TOKEN']}"}


@contextlib.contextmanager
def standard_error(file: IO[bytes]) -> Iterator[None]:
    """Redirect standard error, the service's log, to the file."""
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Response(NamedTuple):
    """Response; `error` is the exception that ended its stream."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    error: Exception | None

    def text(self) -> str:
        """Return everything in one text."""
        return f"{self.status} {self.headers} {self.body.decode()} {self.error}"

    def header(self, name: str) -> str:
        """Return the value of a header."""
        return dict(self.headers)[name]


class Request(NamedTuple):
    """Request; `headers` has the environ's names, `chunks` is the number of chunks to read."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    chunks: int | None = None

    def send(self, app: Any) -> Response:
        """Call the application as a server does: read and close the body."""
        begun: list[tuple[str, list[tuple[str, str]]]] = []
        environ = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "QUERY_STRING": self.query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **self.headers,
        }
        read, failure = [], None
        body = app(environ, lambda status, headers, _=None: begun.append((status, headers)))
        try:
            for number, chunk in enumerate(body):
                if number == self.chunks:
                    break
                read.append(chunk)
        except ArithmeticError as error:
            failure = error
        finally:
            if hasattr(body, "close"):
                body.close()
        status, headers = begun[-1]
        return Response(int(status[:3]), headers, b"".join(read), failure)


class Word(Struct):
    """Body and query of `echo`."""

    word: str


KEPT = HTTPResponse("one for all", headers={"Content-Type": "text/plain"})
BUSY = Problem(503, "Busy.", headers={"Retry-After": "1"})


def request_values() -> Iterator[str]:
    """Yield Bottle's values of the request, and let other threads run in between."""
    for name in ("bottle.raw_path", "QUERY_STRING", "HTTP_USER_AGENT", "service.client_name"):
        time.sleep(0)
        yield str(request.environ[name])
    time.sleep(0)
    yield str(request.path)


def echo(mark: str, query: Word, body: Word) -> list[str]:
    response.set_header("X-Mark", mark)
    return [mark, query.word, body.word, *request_values()]


def stream(mark: str) -> Iterator[str]:
    response.set_header("X-Mark", mark)
    yield mark
    yield from request_values()


def cut(mark: str) -> Iterator[str]:
    yield mark
    time.sleep(0)
    raise ArithmeticError(mark)


def problem(mark: str) -> NoReturn:
    time.sleep(0)
    raise Problem(409, mark, headers={"X-Mark": mark}, errors=[FieldError(mark, "wrong")])


def fail(mark: str) -> NoReturn:
    time.sleep(0)
    raise ArithmeticError(mark)


def kept(mark: str) -> HTTPResponse:
    response.set_header("X-Mark", mark)
    return KEPT


def busy(mark: str) -> NoReturn:
    raise BUSY


def own_application(authenticate: Authenticator) -> Bottle:
    """Return the service's middleware around the handlers above, with metrics at /metrics."""
    metrics = Metrics()

    def add_routes(app: Bottle) -> None:
        app.route("/echo/<mark>", "POST", echo)
        for raw in (stream, cut):
            app.route(f"/{raw.__name__}/<mark>", "GET", raw, raw=True)
        for handler in (problem, fail, kept, busy):
            app.route(f"/{handler.__name__}/<mark>", "GET", handler)
        app.route("/metrics", "GET", lambda: HTTPResponse(metrics.exposition()), admin=True)

    return build_http_application(
        add_routes,
        dependencies={},
        authenticate_client=authenticate,
        authenticate_admin=settings.admin_token.authenticate,
        problem_renderer=ProblemRenderer(Views(SERVICE.directory / "views", asset=str)),
        recorders=[AccessLog("own", "", "json", "INFO"), metrics],
        cors_origins=[ORIGIN],
        trusted_proxy_count=1,
        max_body_bytes=2**20,
    )

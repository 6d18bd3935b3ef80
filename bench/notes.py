"""Measure requests for a note against the database's driver alone, as a Markdown table: `make bench`.

The driver executes the statements of the request, with one connection and without a pool. Both sides wait for
the database, so the figures are times and not processor times. Nothing is sent to the service: a request is a
call of the WSGI application, as in cost.py.
"""

import io
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.cost import ENVIRON
from bench.databases import Case, Rounds, run_for_each_database

ROUNDS, CALLS = 500, 4
TOKEN = "t" * 32
BODY = b'{"title": "Hello", "body": "World"}'
NOTES = "/api/v1/notes"
COLUMNS = "title, body, created_at, updated_at, version"
BEGIN_GET = {"sqlite": "BEGIN DEFERRED", "postgresql": "BEGIN READ ONLY"}
BEGIN_POST = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN"}


def of_service(url: str) -> dict[str, Case]:
    """Return the requests: POST and GET of a note, and one without the database."""
    from my_service.app import SERVICE, open_database

    environ = {
        "API_TOKENS": f"bench:{TOKEN}",
        "DATABASE_URL": url,
        "TRUSTED_PROXY_COUNT": "1",
    }
    settings = SERVICE.settings.load(environ)
    open_database(settings).migrate()
    app = SERVICE.create_app(settings)
    common = {**ENVIRON, "HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}
    post = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(BODY))}

    def request(status: str, method: str, path: str, **more: str) -> None:
        def start(got: str, _headers: Any, _exc_info: Any = None) -> None:
            assert got.startswith(status), got  # noqa: S101

        environ = {**common, "REQUEST_METHOD": method, "PATH_INFO": path, "RAW_URI": path, **more}
        b"".join(app({**environ, "wsgi.input": io.BytesIO(BODY)}, start))

    return {
        "POST": partial(request, "201", "POST", NOTES, **post),
        "GET": partial(request, "200", "GET", f"{NOTES}/1"),  # of the first POST
        "GET /livez": partial(request, "200", "GET", "/livez"),
    }


def of_driver(database: str, url: str) -> dict[str, Case]:
    """Return the statements of these requests."""
    now: Any = datetime(2026, 1, 1, tzinfo=UTC)
    connection: Any
    if database == "sqlite":
        now = now.isoformat()
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=NORMAL")
        mark = "?"
    else:
        connection = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        mark = "%s"
    select = f"SELECT id, {COLUMNS} FROM notes WHERE id = {mark}"  # noqa: S608
    values = ", ".join([mark] * 5)
    insert = f"INSERT INTO notes ({COLUMNS}) VALUES ({values}) RETURNING id"  # noqa: S608

    def execute(begin: str, statement: str, *parameters: Any) -> None:
        connection.execute(begin)
        row = connection.execute(statement, parameters).fetchone()
        connection.execute("COMMIT")
        assert row  # noqa: S101

    return {
        "driver GET": partial(execute, BEGIN_GET[database], select, 1),
        "driver POST": partial(
            execute, BEGIN_POST[database], insert, "Hello", "World", now, now, "0123456789abcdef"
        ),
    }


def measure(database: str, new_url: Callable[[str], str]) -> None:
    url = new_url("notes")
    rounds = Rounds({**of_service(url), **of_driver(database, url)}, ROUNDS, CALLS)
    without = rounds.seconds("GET /livez") * 1e6
    print(f"\n| a note, {database} | driver | request | ratio |\n|---|---|---|---|")
    for method in ("GET", "POST"):
        times = [rounds.seconds(case) * 1e6 for case in (f"driver {method}", method)]
        figures = " | ".join(f"{time:.0f} µs" for time in times)
        print(f"| {method} | {figures} | {rounds.ratio(method, f'driver {method}'):.1f} x |")
    print(f"| GET /livez, without the database | | {without:.0f} µs | |")


if __name__ == "__main__":
    run_for_each_database(__file__, measure)

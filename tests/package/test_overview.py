"""Overview of development: routes with commands, health, settings without secrets, its own style."""

import os
import re
from base64 import b64encode
from collections.abc import Callable
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from bottle import Bottle, HTTPResponse
from msgspec import Struct
from webtest import TestApp, TestResponse

from bottle_service.application import build_application
from bottle_service.http import IfMatch
from bottle_service.overview import Overview
from bottle_service.views import Views

from .sample.app import DIRECTORY
from .sample.settings import Settings
from .tokens import TOKEN


class LoanCreate(Struct):
    item: str
    days: int
    returned: bool = False


def home(views: Views, overview: Overview | None) -> HTTPResponse:
    return overview.page() if overview else views.page("home")


def create(body: LoanCreate) -> LoanCreate:
    return body


def show(loan_id: int) -> dict[str, int]:
    return {"id": loan_id}


def on_day(day: date) -> date:
    return day


def remove(loan_id: int, if_match: IfMatch) -> None:
    if_match.check(loan_id)


def add_routes(app: Bottle) -> None:
    app.route("/", "GET", home, public=True)
    app.route("/loans", "POST", create)
    app.route("/loans/<loan_id:id>", "GET", show, public=True)
    app.route("/loans/<loan_id:id>", "DELETE", remove, status=204, etag="{0}", public=True)
    app.route("/days/<day>", "GET", on_day, public=True)


def fail() -> None:
    raise OSError("no route to <host>")


@pytest.fixture
def page(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., TestResponse]:
    """Return the first page in an environment."""

    def get(**settings: str) -> TestResponse:
        environ.update(settings)
        monkeypatch.setattr(os, "environ", environ)
        checks = {"database": lambda: None, "partner": fail}
        app = build_application(
            "sample-service", DIRECTORY, Settings.load(environ), add_routes,
            variables={"service": "Sample", "description": "A service of the tests"},
            dependencies={"checks": checks},
        )  # fmt: skip
        return TestApp(app).get("/")

    return get


def test_overview_has_a_command_for_each_route(page: Callable[..., TestResponse]) -> None:
    html = page(APP_ENV="development").html
    titles = [" ".join(title.text.split()) for title in html.find_all("h3")]
    assert titles == [
        "GET / public",
        "POST /loans token",
        "GET /loans/<loan_id:id> public",
        "DELETE /loans/<loan_id:id> public",
        "GET /days/<day> public",
    ]
    assert [command.text for command in html.find_all("pre")] == [
        "curl http://127.0.0.1:8000/",
        "curl -X POST -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' "
        '-d \'{"item": "text", "days": 1}\' http://127.0.0.1:8000/loans',
        "curl http://127.0.0.1:8000/loans/1",
        "curl -X DELETE -H 'If-Match: *' http://127.0.0.1:8000/loans/1",
        "curl http://127.0.0.1:8000/days/2026-12-31",
    ]


def test_overview_shows_health_and_settings_without_secrets(
    page: Callable[..., TestResponse],
) -> None:
    shown = page(APP_ENV="development", LOG_LEVEL="DEBUG")
    health = [
        " ".join(item.text.split()) for item in shown.html.find(class_="health").find_all("li")
    ]
    assert health == [
        "database responds",
        "partner OSError: no route to <host>",
        "process responds",
    ]
    rows = [[cell.text for cell in row.find_all("td")] for row in shown.html.find_all("tr")[1:]]
    assert ["APP_ENV", "development", "environment"] in rows
    assert ["LOG_LEVEL", "DEBUG", "environment"] in rows
    assert ["API_TOKENS", "set", "environment"] in rows
    assert ["WEB_THREADS", "4", "default"] in rows
    assert TOKEN not in shown.text


def test_policy_allows_exactly_the_style_of_the_page(page: Callable[..., TestResponse]) -> None:
    shown = page(APP_ENV="development")
    (style,) = re.findall("<style>(.*?)</style>", shown.text, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = shown.headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}' 'self'" in policy
    assert "<script" not in shown.text


def test_how_to_pages_of_the_working_directory_are_listed(
    page: Callable[..., TestResponse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "docs" / "how-to"
    directory.mkdir(parents=True)
    (directory / "login.md").write_text("# Add a login\n\nText.\n")
    assert "Add a login: <code>docs/how-to/login.md</code>" in page(APP_ENV="development").text


def test_other_environments_have_no_overview(page: Callable[..., Any]) -> None:
    assert "Only development" not in page(APP_ENV="production").text

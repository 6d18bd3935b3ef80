"""Sessions of people: who a cookie belongs to, and requests that pages of other origins send."""

from typing import Any

import pytest
from webtest import TestApp

from bottle_service.application import build_application
from bottle_service.http import Environ, require_same_origin
from bottle_service.startup import StartupError

from .apps import TOKEN, build_app, client_for, startup_errors
from .sample import app as sample
from .sample.settings import Settings

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


def authenticate_session(environ: Environ) -> str | None:
    return "ada" if environ.get("HTTP_COOKIE") == "session=good" else None


def show(client_name: str) -> str:
    return client_name


def client_with_session(cookie: str = "session=good", **options: Any) -> TestApp:
    route = (["GET", "POST"], "/", show, {"public": False, **options})
    client = client_for(
        route,
        authenticate_session=authenticate_session,
        authenticate_admin=lambda token: "admin" if token == TOKEN else None,
    )
    client.extra_environ["HTTP_COOKIE"] = cookie
    return client


def test_client_of_a_session_or_a_token_is_injected() -> None:
    client = client_with_session()
    assert client.get("/").json == "ada"
    assert client.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).json == "tester"


@pytest.mark.parametrize("cookie", ["", "session=bad"])
def test_request_without_a_valid_session_is_401(cookie: str) -> None:
    client_with_session(cookie).get("/", status=401)


def test_invalid_token_beside_a_valid_session_is_401() -> None:
    client = client_with_session()
    client.get("/", headers={"Authorization": "Bearer wrong"}, status=401)
    client.get("/", headers={"Authorization": f"Basic {TOKEN}"}, status=401)


def test_session_is_not_accepted_for_an_admin_route() -> None:
    client = client_with_session(admin=True)
    client.get("/", status=401)
    assert client.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).json == "admin"


def test_post_of_a_token_needs_no_origin() -> None:
    client = client_with_session("")
    client.post("/", headers={"Authorization": f"Bearer {TOKEN}"})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (SAME_ORIGIN, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:80"}, 403),
        ({"Sec-Fetch-Site": ""}, 403),
        ({"Origin": "http://localhost:80"}, 200),
        ({"Origin": "https://localhost:80"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_post_of_a_session_must_come_from_the_same_origin(
    headers: dict[str, str], status: int
) -> None:
    client_with_session().post("/", headers=headers, status=status)


def test_get_of_a_session_may_come_from_another_site() -> None:
    client_with_session().get("/", headers={"Sec-Fetch-Site": "cross-site"})


def test_public_route_can_require_the_same_origin() -> None:
    def log_in(environ: Environ) -> str:
        require_same_origin(environ)
        return str(environ["REMOTE_ADDR"])

    client = client_for(("POST", "/", log_in))
    client.extra_environ["REMOTE_ADDR"] = "203.0.113.7"
    client.post("/", headers={"Sec-Fetch-Site": "cross-site"}, status=403)
    assert client.post("/", headers=SAME_ORIGIN).json == "203.0.113.7"


def test_public_route_has_no_client_name() -> None:
    assert "public" in startup_errors(("GET", "/", show))


def test_route_of_a_service_with_sessions_needs_no_api_tokens() -> None:
    def build(**options: Any) -> TestApp:
        settings = Settings.load({"DATABASE_URL": "sqlite:///unused.sqlite3"})
        app = build_application(
            "sample",
            sample.DIRECTORY,
            settings,
            lambda app: app.route("/", "GET", show),
            variables={},
            dependencies={},
            **options,
        )
        return TestApp(app)

    with pytest.raises(StartupError, match="API_TOKENS"):
        build()
    client = build(authenticate_session=authenticate_session)
    assert client.get("/", headers={"Cookie": "session=good"}).json == "ada"
    client = build(authenticate_client=lambda token: "bot" if token == TOKEN else None)
    assert client.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).json == "bot"


def test_handlers_get_the_environ() -> None:
    def agent(environ: Environ) -> str:
        return str(environ["HTTP_USER_AGENT"])

    client = TestApp(build_app(("GET", "/", agent)))
    assert client.get("/", headers={"User-Agent": "test"}).json == "test"

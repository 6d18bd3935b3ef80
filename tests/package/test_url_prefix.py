"""A service under a part of the path of its host."""

from pathlib import Path
from typing import Any

import pytest
from bottle import Bottle, HTTPResponse
from webtest import TestApp

from bottle_service.application import build_application
from bottle_service.http import Environ
from bottle_service.startup import StartupError
from bottle_service.views import Views

from .sample.settings import Settings


def page(views: Views) -> HTTPResponse:
    return views.page("links")


def show(environ: Environ) -> list[str]:
    return [environ["SCRIPT_NAME"], environ["PATH_INFO"]]


def redirect(target: str) -> HTTPResponse:
    return HTTPResponse(status=303, headers={"Location": target})


def add_routes(app: Bottle) -> None:
    app.route("/", "GET", show, public=True)
    app.route("/page", "GET", page, public=True)
    app.route("/shown", "GET", show, public=True, redirect_slashes=True)
    app.route("/things", "POST", lambda: {"id": 5}, public=True, location="/things/{0[id]}")
    app.route("/to/<target:path>", "GET", redirect, public=True)


def client_of(directory: Path, url_prefix: str) -> TestApp:
    settings = Settings.load({})
    options: dict[str, Any] = {"variables": {}, "dependencies": {}, "url_prefix": url_prefix}
    return TestApp(build_application("sample", directory, settings, add_routes, **options))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "app.css").touch()
    (tmp_path / "views").mkdir()
    source = "{{asset('app.css')}} {{url_prefix}}/page"
    (tmp_path / "views" / "links.tpl").write_text(source)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/app/shown", ["/app", "/shown"]),
        ("/app/", ["/app", "/"]),
        ("/app", ["/app", "/"]),
        ("/shown", ["", "/shown"]),
    ],
)
def test_prefix_is_removed_where_it_is(directory: Path, path: str, seen: list[str]) -> None:
    assert client_of(directory, "/app").get(path).json == seen


@pytest.mark.parametrize("path", ["/application/shown", "/app/app/shown", "/appshown"])
def test_other_path_is_404(directory: Path, path: str) -> None:
    client_of(directory, "/app").get(path, status=404)


def location(client: TestApp, method: str, path: str) -> str:
    """Return the header as it is sent; WebTest's own attribute is absolute."""
    response = client.request(path, method=method)
    return str(response.headers["Location"])


def test_locations_have_the_prefix(directory: Path) -> None:
    client = client_of(directory, "/a/b")
    assert location(client, "POST", "/a/b/things").endswith("/a/b/things/5")
    assert location(client, "GET", "/a/b/shown/").endswith("/a/b/shown")
    assert location(client, "GET", "/a/b/to//page").endswith("/a/b/page")


@pytest.mark.parametrize("target", ["https://other.example/x", "//other.example/x"])
def test_location_of_another_host_is_unchanged(directory: Path, target: str) -> None:
    assert location(client_of(directory, "/app"), "GET", f"/app/to/{target}") == target


def test_views_have_the_prefix(directory: Path) -> None:
    page = client_of(directory, "/app").get("/app/page").text
    asset, link = page.split()
    assert asset.startswith("/app/static/app.")
    assert link == "/app/page"
    assert client_of(directory, "").get("/page").text.endswith(" /page")


@pytest.mark.parametrize("url_prefix", ["app", "/app/", "/", "//other", "/a b", "/a?b"])
def test_invalid_prefix_stops_the_start(directory: Path, url_prefix: str) -> None:
    with pytest.raises(StartupError, match="URL_PREFIX"):
        client_of(directory, url_prefix)

"""The command line: what it prints and how it exits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bottle import Bottle

from {{ cookiecutter.package_name }}.__main__ import main
from {{ cookiecutter.package_name }}.routes import health

from .service import COMMAND, ROOT, TOKEN

SERVICE = "{{ cookiecutter.project_slug }}"


@pytest.fixture
def settings(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings that the commands read here, to be changed."""
    monkeypatch.setattr(os, "environ", environ)
    return environ


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A routing table of the tests' own: one route of each kind."""

    def add_routes(app: Bottle) -> None:
        app.route("/livez", "GET", health.live, public=True)
        app.route("/metrics", "GET", health.metrics, admin=True)
        app.route("/guarded", "GET", health.live)

    monkeypatch.setattr(f"{COMMAND[-1]}.app.add_routes", add_routes)


def failed(command: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit, match=r"^2$"):
        main([command])
    first, *problems = capsys.readouterr().err.splitlines()
    assert first == f"{SERVICE} cannot start:"
    return problems


@pytest.mark.usefixtures("settings")
def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check"])
    assert capsys.readouterr().out.startswith(f"{SERVICE} could start: test, ")


@pytest.mark.usefixtures("routes")
@pytest.mark.parametrize("command", ["check", "serve"])
def test_everything_wrong_is_named(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    settings |= {"APP_ENV": "production", "API_TOKENS": "", "BIND": "localhost"}
    # <% if cookiecutter.database == "sqlite" %>
    settings["DATABASE_URL"] = "sqlite:///absent.sqlite3"
    # <% endif %>
    # <% if cookiecutter.wsgi_server == "waitress" %>
    settings["WEB_CONCURRENCY"] = "2"
    # <% endif %>
    assert [problem.split()[0].strip(":") for problem in failed(command, capsys)] == [
        "BIND",
        # <% if cookiecutter.wsgi_server == "waitress" %>
        "WEB_CONCURRENCY",
        # <% endif %>
        # <% if cookiecutter.database == "sqlite" %>
        "DATABASE_URL",
        # <% endif %>
        "API_TOKENS",
    ]


def test_a_socket_in_no_directory(
    settings: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings["BIND"] = f"unix:{tmp_path}/none/service.sock"
    (problem,) = failed("check", capsys)
    assert problem == f"  BIND: there is no directory for unix:{tmp_path}/none/service.sock"


def test_a_wrong_setting_is_named_once(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    settings["API_TOKENS"] = f"tester {TOKEN}"
    (problem,) = failed("check", capsys)
    assert TOKEN not in problem


@pytest.mark.usefixtures("routes")
def test_after_a_wrong_environment_nothing_else_is_wrong(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of production, that is, which stands in for it: what was given wrong is still named."""
    settings |= {"APP_ENV": "dev", "API_TOKENS": "", "ADMIN_TOKEN": "short", "LOG_LEVEL": "LOUD"}
    # <% if cookiecutter.database == "sqlite" %>
    settings["DATABASE_URL"] = "sqlite:///absent.sqlite3"
    # <% endif %>
    told = [problem.split()[0] for problem in failed("check", capsys)]
    assert told == ["APP_ENV", "LOG_LEVEL"]


# <% if cookiecutter.wsgi_server == "uwsgi" %>
def test_production_is_behind_nginx(
    settings: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings |= {"APP_ENV": "production", "BIND": "127.0.0.1:8000"}
    assert failed("check", capsys)[0].startswith("  BIND: in production uWSGI listens on unix:/")
    settings["BIND"] = f"unix:{tmp_path}/service.sock"
    main(["check"])


# <% endif %>
# <% if cookiecutter.wsgi_server == "gunicorn" %>
def test_gevent_that_is_not_installed(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings["WORKER_CLASS"] = "gevent"
    main(["check"])
    monkeypatch.setitem(sys.modules, "gevent", None)
    assert failed("check", capsys)[0].startswith("  WORKER_CLASS: gevent is not installed; add it")


# <% endif %>
@pytest.mark.usefixtures("settings")
def test_static_files_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is not there stands for one without permission: root may read everything."""
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "gone.css").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "static" / "gone.css", tmp_path / "absent"):
        directory = path if path.name == "absent" else path.parent
        monkeypatch.setattr(f"{COMMAND[-1]}.app.STATIC_DIRECTORY", directory)
        assert failed("check", capsys)[0].startswith(f"  {path}: cannot be read by this user")


@pytest.mark.usefixtures("settings", "routes")
def test_routes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["routes"])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["GET", "/livez", "public", "routes.health.live"],
        ["GET", "/metrics", "admin", "routes.health.metrics"],
        ["GET", "/guarded", "token", "routes.health.live"],
    ]


def test_nothing_needs_posix_before_it_serves() -> None:
    """`check` must work on Windows: no module that only POSIX has is imported for it."""
    code = (
        "import sys\n"
        "for name in ('fcntl', 'grp', 'pwd', 'resource', 'termios'): sys.modules[name] = None\n"
        f"import {COMMAND[-1]}.__main__"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", check=True)

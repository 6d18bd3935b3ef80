"""Command line: output, exit status, and the former names of commands."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from bottle import Bottle

from bottle_service.cli import load_checked_app, main
from bottle_service.service import Service

from . import SOURCES
from .sample.app import NAME, SERVICE, create_app
from .sample.routes import live, metrics
from .tokens import TOKEN


@pytest.fixture
def settings(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The process environment of the commands, to be changed."""
    monkeypatch.setattr(os, "environ", environ)
    return environ


def served_by(server: str) -> Service:
    return replace(SERVICE, server=import_module(f"bottle_service.servers.{server}"))


def problems_of(
    capsys: pytest.CaptureFixture[str], command: str = "check", service: Service = SERVICE
) -> list[str]:
    """Run a command that fails, and return the problems that it prints."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main(service, [command])
    first, *problems = capsys.readouterr().err.splitlines()
    assert first == f"{NAME} cannot start:"
    return [problem.removeprefix("  ") for problem in problems]


@pytest.mark.usefixtures("settings")
def test_check_prints_that_the_service_could_start(capsys: pytest.CaptureFixture[str]) -> None:
    main(SERVICE, ["check"])
    assert capsys.readouterr().out == f"{NAME} could start: test, 9 routes\n"


@pytest.mark.parametrize("app_env", ["development", ""])
def test_missing_app_env_is_named_in_a_project(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str], app_env: str
) -> None:
    """On a host, it is missing on purpose; its working directory is no project."""
    settings |= {"APP_ENV": app_env, "BIND": "localhost"}
    assert "APP_ENV" not in str(problems_of(capsys))
    Path(".env.example").touch()
    hint = [problem for problem in problems_of(capsys) if "APP_ENV=development" in problem]
    assert len(hint) == (app_env == "")


@pytest.mark.parametrize("command", ["check", "serve"])
def test_every_problem_is_printed(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    settings |= {"APP_ENV": "production", "API_TOKENS": "", "BIND": "localhost"}
    settings["WEB_CONCURRENCY"] = "2"
    problems = problems_of(capsys, command, served_by("waitress"))
    names = [problem.partition(" ")[0].strip(":") for problem in problems]
    assert names == ["BIND", "WEB_CONCURRENCY", "API_TOKENS"]
    assert problems[-1] == (
        "API_TOKENS: 1 routes require a token but none is configured; set API_TOKENS to "
        "NAME:TOKEN, with a token from `openssl rand -hex 32`"
    )


def test_socket_in_a_missing_directory_is_a_problem(
    settings: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings["BIND"] = f"unix:{tmp_path}/none/service.sock"
    assert problems_of(capsys) == [
        f"BIND: there is no directory for unix:{tmp_path}/none/service.sock"
    ]


def test_invalid_setting_is_reported_once(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    settings["API_TOKENS"] = f"tester {TOKEN}"
    (problem,) = problems_of(capsys)
    assert TOKEN not in problem


def test_after_an_invalid_app_env_only_invalid_values_are_reported(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid APP_ENV counts as production, whose rules the settings do not have to meet."""
    settings |= {"APP_ENV": "dev", "API_TOKENS": "", "ADMIN_TOKEN": "short", "LOG_LEVEL": "LOUD"}
    problems = problems_of(capsys)
    assert [problem.split()[0] for problem in problems] == ["APP_ENV", "LOG_LEVEL"]


@pytest.mark.parametrize("name", ["gone.css", ""])
@pytest.mark.usefixtures("settings")
def test_unreadable_static_file_is_a_problem(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """A missing file has the effect of a missing permission: root may read every file."""
    (tmp_path / "views").mkdir()
    if name:
        (tmp_path / "static").mkdir()
        (tmp_path / "static" / name).symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(f"{create_app.__module__}.DIRECTORY", tmp_path)
    path = tmp_path / "static" / name
    assert problems_of(capsys) == [
        f"{path}: cannot be read by this user; run `chmod -R a+rX` on it"
    ]


@pytest.mark.usefixtures("settings")
def test_broken_view_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for directory in ("static", "views"):
        (tmp_path / directory).mkdir()
    (tmp_path / "views" / "home.tpl").write_text("% if:\n")
    monkeypatch.setattr(f"{create_app.__module__}.DIRECTORY", tmp_path)
    (problem,) = problems_of(capsys)
    assert problem.startswith(f"{tmp_path}/views/home.tpl: cannot be rendered: invalid syntax")


@pytest.mark.parametrize(("app_env", "warned"), [("development", True), ("production", False)])
def test_check_warns_of_blocked_parts_in_development(
    settings: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    app_env: str,
    warned: bool,
) -> None:
    settings["APP_ENV"] = app_env
    for directory in ("static", "views"):
        (tmp_path / directory).mkdir()
    (tmp_path / "views" / "home.tpl").write_text("<p>\n<style></style>")
    monkeypatch.setattr(f"{create_app.__module__}.DIRECTORY", tmp_path)
    main(SERVICE, ["check"])
    warning = f"{tmp_path}/views/home.tpl: line 2: the Content-Security-Policy blocks <style>; "
    assert capsys.readouterr().err.startswith(warning) == warned


@pytest.mark.usefixtures("settings")
def test_problems_of_routes_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def add_routes(app: Bottle) -> None:
        app.route("/", "GET", live, redirect_slash=True)

    def create(settings: Any) -> Bottle:
        return create_app(settings, add_routes)

    assert problems_of(capsys, service=replace(SERVICE, create_app=create)) == [
        "GET /: unknown option 'redirect_slash'; did you mean redirect_slashes?"
    ]


@pytest.mark.usefixtures("settings")
def test_routes_lists_method_rule_access_and_handler(capsys: pytest.CaptureFixture[str]) -> None:
    main(SERVICE, ["routes"])
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    _, _, module = live.__module__.partition(".")
    assert ["GET", "/livez", "public", f"{module}.{live.__name__}"] in table
    assert ["GET", "/metrics", "admin", f"{module}.{metrics.__name__}"] in table
    assert ["POST", "/greetings", "token", f"{module}.greet"] in table
    assert len(table) == 9


@pytest.mark.parametrize("command", ["routes", "openapi"])
def test_routes_are_described_before_there_is_a_token(
    settings: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    tokens = settings.pop("API_TOKENS")
    main(SERVICE, [command])
    assert "/greetings" in capsys.readouterr().out
    file = tmp_path / "tokens"
    file.write_text(tokens)
    settings["API_TOKENS_FILE"] = str(file)
    main(SERVICE, [command])


@pytest.mark.usefixtures("settings")
def test_openapi_prints_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    main(SERVICE, ["openapi"])
    document = json.loads(capsys.readouterr().out)
    assert document["paths"]["/greetings"]["post"]["security"] == [{"token": []}]


def test_version_names_the_service_and_the_template(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(SERVICE, ["--version"])
    pattern = rf"{NAME}, generated by cookiecutter-bottle-service \d+\.\d+\.\d+\S*\n"
    assert re.fullmatch(pattern, capsys.readouterr().out)


def test_commands_of_a_database_need_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(SERVICE, ["migrate"])
    assert "invalid choice: 'migrate'" in capsys.readouterr().err


# Servers


def test_uwsgi_in_production_needs_a_unix_socket(
    settings: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings |= {"APP_ENV": "production", "BIND": "127.0.0.1:8000"}
    (problem,) = problems_of(capsys, service=served_by("uwsgi"))
    assert problem.startswith("BIND: in production uWSGI listens on unix:/path")
    settings["BIND"] = f"unix:{tmp_path}/service.sock"
    main(served_by("uwsgi"), ["check"])


def test_missing_gevent_is_a_problem(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings["WORKER_CLASS"] = "gevent"
    main(SERVICE, ["check"])
    monkeypatch.setitem(sys.modules, "gevent", None)
    (problem,) = problems_of(capsys)
    assert problem.startswith("WORKER_CLASS: gevent is not installed; add it")


@pytest.mark.parametrize("server", ["gunicorn", "uwsgi"])
@pytest.mark.usefixtures("settings")
def test_server_that_needs_posix_is_a_problem_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    monkeypatch.delattr(os, "fork")
    (problem,) = problems_of(capsys, service=served_by(server))
    assert "needs POSIX: develop in WSL, or choose Waitress" in problem


@pytest.mark.parametrize("server", ["gunicorn", "waitress", "uwsgi"])
def test_check_imports_no_posix_only_module(server: str) -> None:
    """`check` must work on Windows."""
    code = (
        "import sys\n"
        "for name in ('fcntl', 'grp', 'pwd', 'resource', 'termios'): sys.modules[name] = None\n"
        f"import bottle_service.cli, bottle_service.application, bottle_service.servers.{server}"
    )
    subprocess.run([sys.executable, "-B", "-c", code], cwd=SOURCES, check=True)


# Former names, until version 0.4


@pytest.mark.usefixtures("settings")
def test_former_command_assets_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(SERVICE, ["assets", str(tmp_path / "out")])
    assert (tmp_path / "out" / "app.css").exists()
    assert capsys.readouterr().err == (
        "`assets` is now called `collect-static`; the former name will stop working\n"
    )


def test_former_setting_is_accepted_with_a_line_on_stderr(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    settings["TRUSTED_PROXIES"] = "1"
    main(SERVICE, ["check"])
    captured = capsys.readouterr()
    assert captured.err.startswith(
        "TRUSTED_PROXIES (environment): is now called TRUSTED_PROXY_COUNT"
    )
    assert "could start" in captured.out
    loaded, app, warnings = load_checked_app(SERVICE)
    assert (loaded.trusted_proxy_count, len(warnings)) == (1, 1)
    app.close()

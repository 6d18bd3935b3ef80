"""The units of systemd agree with the service and with Nginx."""

import re

import pytest

from bottle_service.cli import main

from {{ cookiecutter.package_name }} import app
from {{ cookiecutter.package_name }}.settings import Settings

from .deploy_files import DEPLOY, SLUG, directives, read

UNIT = read("deploy/systemd/SLUG.service")
SERVICE_UNIT = directives(UNIT)
SOCKET_UNIT = directives(read("deploy/systemd/SLUG.socket"))


def test_unit_loads_every_secret() -> None:
    loaded = re.findall(r"^LoadCredential=(\w+):(.*)\nSetCredential=(\w+):\\n$", UNIT, re.MULTILINE)
    for name in sorted(Settings.secrets()):
        path = f"/etc/{SLUG}/credentials/{name}"
        lines = rf"LoadCredential={name}:{path} and SetCredential={name}:\n"
        assert (name, path, name) in loaded, f"deploy/systemd/{SLUG}.service: add the lines {lines}"
    for name, _, _ in loaded:
        assert name in Settings.secrets(), f"deploy/systemd/{SLUG}.service: {name} is not a secret"


def test_unit_starts_the_current_release_with_its_settings_file() -> None:
    home = f"/opt/{SLUG}/current"
    assert SERVICE_UNIT["WorkingDirectory"] == home
    assert SERVICE_UNIT["ExecStart"] == f"{home}/.venv/bin/python -m {app.SERVICE.package} serve"
    environment = SERVICE_UNIT["Environment"].split()
    assert {"APP_ENV=production", f"ENV_FILE=/etc/{SLUG}/{SLUG}.env"} <= set(environment)


def test_unit_follows_the_service() -> None:
    assert SERVICE_UNIT["Type"] == "notify"  # the service sends READY=1
    assert SERVICE_UNIT["RestartPreventExitStatus"] == "2"  # exit status for invalid settings
    assert SERVICE_UNIT["Requires"] == f"{SLUG}.socket"


def test_nginx_connects_to_the_socket_of_the_unit() -> None:
    nginx = read("deploy/nginx/SLUG.conf")
    socket = SOCKET_UNIT["ListenStream"]
    assert re.findall(r"^ +server unix:/?(/run\S+)", nginx, re.MULTILINE) == [socket] * 2
    assert (SOCKET_UNIT["SocketGroup"], SOCKET_UNIT["SocketMode"]) == ("www-data", "0660")


def test_all_files_name_the_same_user() -> None:
    user = SERVICE_UNIT["User"]
    assert SOCKET_UNIT["SocketUser"] == user
    assert f"\nu {user} " in read("deploy/systemd/SLUG.sysusers")


def test_each_timer_starts_a_command() -> None:
    """install.sh rejects a release with another timer."""
    for path in sorted(DEPLOY.glob(f"systemd/{SLUG}-*.timer")):
        unit = directives(path.read_text(encoding="utf-8")).get("Unit", "")
        name = unit.removeprefix(f"{SLUG}@").removesuffix(".service")
        with pytest.raises(SystemExit) as exit_:
            main(app.SERVICE, [name, "--help"])
        assert (unit, exit_.value.code) == (f"{SLUG}@{name}.service", 0), (
            f"deploy/systemd/{path.name}: write Unit={SLUG}@NAME.service with a NAME of commands.py"
        )

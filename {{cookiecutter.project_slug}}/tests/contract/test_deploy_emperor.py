"""The files for uWSGI's emperor agree with the units of systemd."""

import re

import pytest

from .deploy_files import SLUG, directives, read, seconds

SERVICE_UNIT = directives(read("deploy/systemd/SLUG.service"))
SOCKET_UNIT = directives(read("deploy/systemd/SLUG.socket"))
EMPEROR_UNIT = directives(read("deploy/uwsgi/emperor.uwsgi.service"))
VASSAL = read("deploy/uwsgi/SLUG.ini")


def test_vassal_has_the_environment_of_the_service() -> None:
    variables = set(SERVICE_UNIT["Environment"].split())
    variables |= {f"CREDENTIALS_DIRECTORY=/etc/{SLUG}/credentials", "TMPDIR=/tmp"}
    assert set(re.findall(r"^env = (.*)$", VASSAL, re.MULTILINE)) == variables


def test_vassal_runs_the_command_of_the_service_as_its_user() -> None:
    command = f"cd {SERVICE_UNIT['WorkingDirectory']} && exec {SERVICE_UNIT['ExecStart']}"
    assert f"\nunprivileged-binary-patch-arg = {command}\n" in VASSAL
    assert f"\nuid = {SERVICE_UNIT['User']}\n" in VASSAL
    assert f"\numask = {SERVICE_UNIT['UMask'].removeprefix('0')}\n" in VASSAL


def test_nginx_reaches_the_vassal_at_the_path_of_the_socket_unit() -> None:
    link = f"L+ {SOCKET_UNIT['ListenStream']} - - - - uwsgi/{SLUG}.socket"
    assert link in read("deploy/uwsgi/SLUG.tmpfiles").splitlines()
    assert EMPEROR_UNIT["Group"] == SOCKET_UNIT["SocketGroup"]


@pytest.mark.parametrize(
    "name", ["Type", "KillMode", "TimeoutStopSec", "Restart", "LogRateLimitIntervalSec"]
)
def test_emperor_is_supervised_as_the_service_is(name: str) -> None:
    assert EMPEROR_UNIT[name] == SERVICE_UNIT[name]


def test_emperor_waits_for_requests_in_flight() -> None:
    emperor = read("deploy/uwsgi/emperor.uwsgi.ini")
    (worker,) = seconds("worker-reload-mercy", read("uwsgi.ini"))
    (tolerance,) = seconds("emperor-curse-tolerance", emperor)
    (mercy,) = seconds("reload-mercy", emperor)
    assert worker < mercy == tolerance < float(EMPEROR_UNIT["TimeoutStopSec"])

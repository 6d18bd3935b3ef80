"""The deploy files agree with the service and with each other."""

# <% if cookiecutter.wsgi_server == "gunicorn" %>
import ast
import re

import pytest
from gunicorn.config import Config
# <% else %>
import re

import pytest
# <% endif %>

from {{ cookiecutter.package_name }}.settings import {{ 'SECRETS, ' if cookiecutter.supervisor == 'systemd' }}Settings, load_settings

from .service import ROOT

SLUG = "{{ cookiecutter.project_slug }}"
NGINX = "".join(
    (ROOT / "deploy/nginx" / f"{SLUG}{part}.conf").read_text()
    for part in ("", "-limits", "-proxy", "-tls")
)
README = (ROOT / "deploy/README.md").read_text()
INSTALL = (ROOT / "deploy/install.sh").read_text()
# <% if cookiecutter.supervisor == "systemd" %>
UNIT, SOCKET, USER = (
    (ROOT / "deploy/systemd" / f"{SLUG}.{part}").read_text()
    for part in ("service", "socket", "sysusers")
)
# <% if cookiecutter.wsgi_server == "uwsgi" %>
VASSAL, TMPFILES, EMPEROR, EMPEROR_UNIT = (
    (ROOT / "deploy/uwsgi" / name).read_text()
    for name in (f"{SLUG}.ini", f"{SLUG}.tmpfiles", "emperor.uwsgi.ini", "emperor.uwsgi.service")
)
# <% endif %>
# <% else %>
PROGRAM = (ROOT / "deploy/supervisor" / f"{SLUG}.conf").read_text()
RUN = (ROOT / "deploy/supervisor/run.sh").read_text()
# <% endif %>
# <% if cookiecutter.wsgi_server == "gunicorn" %>
SERVER = (ROOT / "gunicorn.conf.py").read_text()
# <% elif cookiecutter.wsgi_server == "uwsgi" %>
SERVER = (ROOT / "uwsgi.ini").read_text()
# <% else %>
SERVER = (ROOT / "src/{{ cookiecutter.package_name }}/server.py").read_text()
# <% endif %>


def number(pattern: str, text: str) -> float:
    (found,) = re.findall(pattern, text, re.MULTILINE)
    return float(found)


def test_each_timeout_is_longer_than_the_one_inside() -> None:
    clients = re.findall(r"^(?:client_(?:header|body)|send)_timeout (\d+)s;", NGINX, re.MULTILINE)
    assert len(clients) == 3
    ladder = [
        max(map(float, clients)),
        Settings().request_deadline,
        number(r"(?:proxy|uwsgi)_read_timeout (\d+)s;", NGINX),
        # <% if cookiecutter.wsgi_server == "gunicorn" %>
        number(r"^graceful_timeout = (\d+)", SERVER),
        # <% elif cookiecutter.wsgi_server == "uwsgi" %>
        number(r"^worker-reload-mercy = (\d+)", SERVER),
        # <% else %>
        number(r"^GRACE = ([\d.]+)", SERVER),
        # <% endif %>
        # <% if cookiecutter.supervisor == "systemd" %>
        number(r"^WatchdogSec=(\d+)", UNIT),
        number(r"^TimeoutStopSec=(\d+)", UNIT),
        # <% else %>
        number(r"^stopwaitsecs=(\d+)", PROGRAM),
        # <% endif %>
    ]
    assert ladder == sorted(set(ladder))
    told = README.partition("## The timeouts")[2].partition("##")[0]
    seconds = re.findall(r"\| (\d+) \|$", told, re.MULTILINE)
    assert list(map(float, seconds)) == ladder


def limits() -> list[tuple[str, ...]]:
    """Return directive, file and value of each row of the README's table."""
    told = README.partition("## The limits")[2]
    rows = re.findall(r"^\| .*`([^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", told, re.MULTILINE)
    assert len(rows) == told.count("\n| ") - 1
    return rows


@pytest.mark.parametrize(("name", "file", "value"), limits())
def test_each_limit_is_the_one_that_is_told(name: str, file: str, value: str) -> None:
    place = "nginx" if file.endswith(".conf") else "*"
    (path,) = [*ROOT.glob(file), *ROOT.glob(f"deploy/{place}/{SLUG}{file}")]
    line = rf"^[^#\n]*?(?<![\w-]){re.escape(name)}(?:=| = |:| )([\w/]+(?: \d+k)?)"
    assert re.findall(line, path.read_text(), re.MULTILINE) == [value]


def test_requests_outlast_a_release_that_is_taken_back() -> None:
    assert 2 * number(r"^READY=(\d+)", INSTALL) <= number(
        r"(?:proxy|uwsgi)_read_timeout (\d+)s;", NGINX
    )


# <% if cookiecutter.wsgi_server == "gunicorn" %>
def test_gunicorn_knows_every_setting() -> None:
    """It passes over a misspelt one without a word."""
    nodes = ast.parse(SERVER).body
    assigned = {ast.unparse(node.targets[0]) for node in nodes if isinstance(node, ast.Assign)}
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    known = set(Config().settings)
    assert {name for name in assigned if not name.startswith("_")} <= known
    own = {"announce", "answers", "end_with", "notify", "remove_counts", "write_error"}
    assert defined - known == own


def test_gunicorn_reads_what_it_is_given() -> None:
    given = (ROOT / "src/{{ cookiecutter.package_name }}/server.py").read_text()
    names = set(re.findall(r'"SERVE_(\w+)"', SERVER))
    assert names == set(re.findall(r'"SERVE_(\w+)"', given))
    assert {name.lower() for name in names} <= set(Settings.__struct_fields__)


def test_connections_are_kept_longer_than_nginx_uses_them() -> None:
    assert number(r"^    keepalive_timeout (\d+)s;", NGINX) < number(r"^keepalive = (\d+)", SERVER)


# <% endif %>
def test_bodies_are_limited_alike() -> None:
    assert number(r"client_max_body_size (\d+)m;", NGINX) * 2**20 == Settings().max_body_bytes


# <% if cookiecutter.supervisor == "systemd" %>
def test_the_unit_loads_every_secret() -> None:
    assert set(re.findall(r"^LoadCredential=(\w+):", UNIT, re.MULTILINE)) == SECRETS
    assert set(re.findall(r"^SetCredential=(\w+):\\n$", UNIT, re.MULTILINE)) == SECRETS
    for name, path in re.findall(r"^LoadCredential=(\w+):(.*)$", UNIT, re.MULTILINE):
        assert path == f"/etc/{SLUG}/credentials/{name}"


def directives(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def test_the_service_is_ready_stopped_and_started_again_as_it_expects() -> None:
    expected = {
        "Type": "notify",  # by its own word, and that of no other process
        # <% if cookiecutter.wsgi_server == "uwsgi" %>
        "NotifyAccess": "all",
        # <% else %>
        "NotifyAccess": "main",
        # <% endif %>
        "KillMode": "control-group",  # nobody is left to tell the workers when the master is killed
        "OOMPolicy": "continue",  # and starts another one
        "Restart": "always",
        "RestartPreventExitStatus": "2",  # but not where settings are wrong
        "LogRateLimitIntervalSec": "0",  # what it says is kept
        "SyslogIdentifier": SLUG,
        "Requires": f"{SLUG}.socket",
        "After": f"{SLUG}.socket network.target",
        "WantedBy": "multi-user.target",
    }
    assert directives(UNIT) | expected == directives(UNIT)
    assert directives(SOCKET)["WantedBy"] == "sockets.target"
    assert directives(SOCKET)["Description"] == f"{directives(UNIT)['Description']} (socket)"


def test_all_files_know_the_same_places() -> None:
    service, socket = directives(UNIT), directives(SOCKET)
    home = f"/opt/{SLUG}/current"
    assert service["WorkingDirectory"] == home
    python = f"{home}/.venv/bin/python"
    assert service["ExecStart"] == f"{python} -m {{ cookiecutter.package_name }} serve"
    assert service["StateDirectory"] == SLUG
    assert {service["StateDirectoryMode"], service["UMask"]} == {"0750", "0027"}
    assert socket["ListenStream"] == f"/run/{SLUG}.sock"
    assert f"\n    server unix:{socket['ListenStream']} max_fails=0;\n" in NGINX
    assert f"\n    server unix:/{socket['ListenStream']} max_fails=0 backup;\n" in NGINX
    assert (socket["SocketGroup"], socket["SocketMode"]) == ("www-data", "0660")
    assert service["User"] == socket["SocketUser"] == SLUG
    assert f'\nu {SLUG} - "The service {SLUG}" /var/lib/{SLUG}\n' in USER
# <% if cookiecutter.wsgi_server == "uwsgi" %>


def test_the_vassal_is_what_the_unit_starts() -> None:
    unit, socket = directives(UNIT), directives(SOCKET)
    variables = f"{unit['Environment']} CREDENTIALS_DIRECTORY=/etc/{SLUG}/credentials TMPDIR=/tmp"
    assert sorted(re.findall(r"^env = (.*)$", VASSAL, re.MULTILINE)) == sorted(variables.split())
    assert f"\nuid = {SLUG}\ngid = {SLUG}\numask = {unit['UMask'][1:]}\n" in VASSAL
    assert f" = cd {unit['WorkingDirectory']} && exec {unit['ExecStart']}\n" in VASSAL
    assert f"\nL+ {socket['ListenStream']} - - - - uwsgi/{SLUG}.socket\n" in TMPFILES
    assert {directives(EMPEROR_UNIT)[name] for name in ("RuntimeDirectory", "Group")} == {
        "uwsgi",
        socket["SocketGroup"],
    }


def test_the_emperor_is_started_and_stopped_as_the_service_is() -> None:
    emperor, service = directives(EMPEROR_UNIT), directives(UNIT)
    for name in (
        "Type", "KillMode", "TimeoutStopSec", "Restart", "RestartSec", "WantedBy",
        "LogRateLimitIntervalSec",
    ):  # fmt: skip
        assert emperor[name] == service[name]
    assert (emperor["Description"], emperor["After"]) == ("uWSGI Emperor", "network.target")


def test_uwsgi_passes_over_no_misspelt_name() -> None:
    for text in (SERVER, VASSAL, EMPEROR):
        assert "\nstrict = true\n" in text


def test_the_emperor_waits_for_requests_in_flight() -> None:
    tolerance, mercy, stop = (
        number(r"^emperor-curse-tolerance = (\d+)", EMPEROR),
        number(r"^reload-mercy = (\d+)", EMPEROR),
        number(r"^TimeoutStopSec=(\d+)", EMPEROR_UNIT),
    )
    assert number(r"^worker-reload-mercy = (\d+)", SERVER) < mercy == tolerance < stop
# <% endif %>
# <% else %>
def test_the_environment_is_of_its_own() -> None:
    variables = RUN.partition(" env -i ")[2]
    assert dict(re.findall(r"\b([A-Z_]+)=(\S+)", variables)) == {
        "PATH": "/usr/bin",
        "LANG": "C.UTF-8",
        "TMPDIR": f"/run/{SLUG}/tmp",  # noqa: S108
        "APP_ENV": "production",
        "ENV_FILE": f"/etc/{SLUG}/{SLUG}.env",
        "CREDENTIALS_DIRECTORY": f"/etc/{SLUG}/credentials",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def test_nginx_asks_where_supervisord_listens() -> None:
    (socket,) = re.findall(r"^socket=unix://(/.+)$", PROGRAM, re.MULTILINE)
    assert re.findall(r"^    server unix:/?(/run.*?) ", NGINX, re.MULTILINE) == [socket] * 2
# <% endif %>


def test_the_settings_file_is_right() -> None:
    settings = load_settings({"ENV_FILE": str(ROOT / "deploy" / f"{SLUG}.env")})
    assert settings.trusted_proxies == 1
    # <% if cookiecutter.wsgi_server == "uwsgi" %>
    assert f"server unix:{settings.bind.path} " in NGINX
    # <% endif %>
    # <% if cookiecutter.supervisor == "systemd" %>
    where = f"APP_ENV=production ENV_FILE=/etc/{SLUG}/{SLUG}.env PYTHONDONTWRITEBYTECODE=1"
    assert directives(UNIT)["Environment"] == where
    # <% endif %>

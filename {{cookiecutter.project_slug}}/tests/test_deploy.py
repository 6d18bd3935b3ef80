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

from {{ cookiecutter.package_name }}.settings import SECRETS, Settings, load_settings
from {{ cookiecutter.package_name }}.web.observe import DEFAULT_HEADERS

from .service import ROOT

SLUG = "{{ cookiecutter.project_slug }}"
NGINX = "".join(
    (ROOT / "deploy/nginx" / f"{SLUG}{part}.conf").read_text()
    for part in ("", "-limits", "-proxy", "-tls")
)
HEADERS = (ROOT / "deploy/nginx" / f"{SLUG}-headers.conf").read_text()
INSTALL = (ROOT / "deploy/install.sh").read_text()
UNIT = (ROOT / "deploy/systemd" / f"{SLUG}.service").read_text()
# <% if cookiecutter.wsgi_server == "gunicorn" %>
SERVER = (ROOT / "gunicorn.conf.py").read_text()
# <% else %>
SERVER = (ROOT / "src/{{ cookiecutter.package_name }}/server.py").read_text()
# <% endif %>


def number(pattern: str, text: str) -> float:
    (found,) = re.findall(pattern, text, re.MULTILINE)
    return float(found)


def test_each_timeout_is_longer_than_the_one_inside() -> None:
    ladder = [
        number(r"client_body_timeout (\d+)s;", NGINX),
        Settings().request_deadline,
        number(r"proxy_read_timeout (\d+)s;", NGINX),
        # <% if cookiecutter.wsgi_server == "gunicorn" %>
        number(r"^graceful_timeout = (\d+)", SERVER),
        # <% else %>
        number(r"^GRACE = ([\d.]+)", SERVER),
        # <% endif %>
        number(r"^WatchdogSec=(\d+)", UNIT),
        number(r"^TimeoutStopSec=(\d+)", UNIT),
    ]
    assert ladder == sorted(set(ladder))


def test_requests_outlast_a_release_that_is_taken_back() -> None:
    assert 2 * number(r"^READY=(\d+)", INSTALL) <= number(r"proxy_read_timeout (\d+)s;", NGINX)


# <% if cookiecutter.wsgi_server == "gunicorn" %>
def test_gunicorn_knows_every_setting() -> None:
    """It passes over a misspelt one without a word."""
    nodes = ast.parse(SERVER).body
    assigned = {ast.unparse(node.targets[0]) for node in nodes if isinstance(node, ast.Assign)}
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    known = set(Config().settings)
    assert {name for name in assigned if not name.startswith("_")} <= known
    assert defined - known == {"announce", "answers", "notify", "write_error"}


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


def test_no_answer_repeats_what_the_client_calls_us() -> None:
    uses = re.findall(r"^.*\$(?:http_)?host\b.*$", NGINX, re.MULTILINE)
    assert uses == ["proxy_set_header Host $host;"]


def test_the_unit_loads_every_secret() -> None:
    assert set(re.findall(r"^LoadCredential=(\w+):", UNIT, re.MULTILINE)) == SECRETS
    assert set(re.findall(r"^SetCredential=(\w+):\\n$", UNIT, re.MULTILINE)) == SECRETS


def test_the_settings_file_is_right() -> None:
    file = ROOT / "deploy" / f"{SLUG}.env"
    assert load_settings({"ENV_FILE": str(file)}).trusted_proxies == 1
    assert f"ENV_FILE=/etc/{SLUG}/{SLUG}.env" in UNIT


@pytest.mark.parametrize(("name", "value"), DEFAULT_HEADERS)
def test_nginx_fills_in_the_header_where_it_is_missing(name: str, value: str) -> None:
    (variable,) = re.findall(rf"^add_header {name} (\S+) always;$", HEADERS, re.MULTILINE)
    source = f"$upstream_http_{name.lower().replace('-', '_')}"
    start = re.escape(f"map {source} {variable} ")
    (filled,) = re.findall(start + r'\{\n    "" (.+);', NGINX)
    if name == "Cache-Control":
        assert f"default {value};" in NGINX
    else:
        assert filled == f'"{value}"'

"""Nginx's files agree with the service and with each other."""

import json
import re

import pytest

from {{ cookiecutter.package_name }}.web.observe import DEFAULT_HEADERS
from {{ cookiecutter.package_name }}.web.problems import title

from .service import ROOT

NGINX = ROOT / "deploy/nginx"
FILES = "".join(path.read_text() for path in sorted(NGINX.glob("*.conf")))


def test_no_answer_repeats_what_the_client_calls_us() -> None:
    uses = re.findall(r"^.*\$(?:http_)?host\b.*$", FILES, re.MULTILINE)
    # <% if cookiecutter.wsgi_server == "uwsgi" %>
    key, passed = "uwsgi_cache_key", "uwsgi_param HTTP_HOST $host if_not_empty;"
    # <% else %>
    key, passed = "proxy_cache_key", "proxy_set_header Host $host;"
    # <% endif %>
    assert uses == [f"{key} $scheme$request_method$host$request_uri;", passed]


@pytest.mark.parametrize(("name", "value"), DEFAULT_HEADERS)
def test_nginx_fills_in_the_header_where_it_is_missing(name: str, value: str) -> None:
    (variable,) = re.findall(rf"^add_header {name} (\S+) always;$", FILES, re.MULTILINE)
    source = f"$upstream_http_{name.lower().replace('-', '_')}"
    start = re.escape(f"map {source} {variable} ")
    (filled,) = re.findall(start + r'\{\n    "" (.+);', FILES)
    if name == "Cache-Control":
        assert f"default {value};" in FILES
    else:
        assert filled == f'"{value}"'


def test_each_error_of_nginx_is_a_problem() -> None:
    pages = re.findall(r"^error_page (\d+) /_err/(\d+);$", FILES, re.MULTILINE)
    assert all(status == page for status, page in pages)
    form = r"""^location = /_err/(\d+) \{
    internal;
    types \{\}
    default_type application/problem\+json;
(?:    (?:#|add_header) .*\n)*    return (\d+) '(.*)';
\}$"""
    answers = re.findall(form, FILES, re.MULTILINE)
    assert [address for address, _, _ in answers] == [status for status, _ in pages]
    for address, status, body in answers:
        problem = json.loads(body)
        assert (address, int(address)) == (status, problem["status"])
        assert (problem["type"], problem["title"]) == ("about:blank", title(int(status)))


def test_both_ways_to_listen_are_one() -> None:
    """The two files differ in nothing but the word for HTTP/2."""
    name = "{{ cookiecutter.project_slug }}-listen.conf"
    older, newer = ((NGINX / place / name).read_text() for place in ("", "from-nginx-1.25.1"))
    listens = re.findall(r"^listen .*$", newer, re.MULTILINE)
    assert "\nhttp2 on;\n" in newer
    assert re.findall(r"^listen .*$", older, re.MULTILINE) == [
        listen.replace("ssl;", "ssl http2;") for listen in listens
    ]
    assert listens == ["listen 443 ssl;", "listen [::]:443 ssl;"]


def test_a_newer_openssl_has_one_more_curve() -> None:
    name = "{{ cookiecutter.project_slug }}-curves.conf"
    older, newer = (
        re.findall("^ssl_ecdh_curve (.+);$", (NGINX / place / name).read_text(), re.MULTILINE)
        for place in ("", "from-openssl-3.5")
    )
    assert newer == [f"X25519MLKEM768:{curves}" for curves in older]


def test_nginx_listens_on_both_internets() -> None:
    lines = re.findall(r"^ *listen (.*);$", FILES, re.MULTILINE)
    old = {line for line in lines if not line.startswith(("[::]:", "127."))}
    assert old == {"80", "443 ssl http2", "80 default_server", "443 default_server"}
    assert sorted(lines) == sorted([*old, *(f"[::]:{line}" for line in old), "127.0.0.1:9180"])

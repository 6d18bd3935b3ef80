"""Nginx's files agree with each other and with the error responses of the service."""

import json
import re

import pytest

from bottle_service.http.problems import title

from .deploy_files import DEPLOY, read

FILES = read("deploy/nginx/*.conf")


def test_response_never_contains_the_host_that_the_client_names() -> None:
    """Otherwise a client could put its own host into a redirect, or into a cache."""
    lines = re.findall(
        r"^ *(?:return|rewrite|add_header)\b.*\$(?:http_)?host\b.*$", FILES, re.MULTILINE
    )
    assert not lines, f"deploy/nginx: write the domain in place of $host in {lines[0].strip()!r}"


def test_each_block_ends_in_its_file() -> None:
    for path in DEPLOY.glob("nginx/**/*.conf"):
        text = path.read_text(encoding="utf-8")
        assert text.count("{") == text.count("}"), f"{path}: a brace is missing"


def test_each_error_page_exists() -> None:
    pages = re.findall(r"^error_page \d+ (?:=\d+ )?(\S+);$", FILES, re.MULTILINE)
    assert set(pages) == set(re.findall(r"^location = (/_err/\S+)", FILES, re.MULTILINE))


@pytest.mark.parametrize(
    ("status", "body"), re.findall(r"^ *return (\d+) '(\{.*\})';$", FILES, re.MULTILINE)
)
def test_each_error_is_a_problem_with_the_title_of_the_service(status: str, body: str) -> None:
    problem = json.loads(body)
    assert {"type", "title", "status", "detail", "request_id"} <= problem.keys()
    assert (problem["status"], problem["title"]) == (int(status), title(int(status)))


def test_both_listen_files_open_the_same_addresses() -> None:
    older = read("deploy/nginx/SLUG-listen.conf")
    newer = read("deploy/nginx/from-nginx-1.25.1/SLUG-listen.conf")
    addresses = re.findall(r"^listen .*$", newer, re.MULTILINE)
    assert re.findall(r"^listen .*$", older, re.MULTILINE) == [
        address.replace("ssl;", "ssl http2;") for address in addresses
    ]
    assert "\nhttp2 on;\n" in newer


def test_curves_for_newer_openssl_are_one_more() -> None:
    older = read("deploy/nginx/SLUG-curves.conf")
    newer = read("deploy/nginx/from-openssl-3.5/SLUG-curves.conf")
    (curves,) = re.findall("^ssl_ecdh_curve (.+);$", older, re.MULTILINE)
    assert f"\nssl_ecdh_curve X25519MLKEM768:{curves};\n" in newer


def test_nginx_listens_on_ipv4_and_ipv6() -> None:
    lines = set(re.findall(r"^ *listen (.*);$", FILES, re.MULTILINE))
    for line in lines:
        if not line.startswith(("[", "127.")):
            assert f"[::]:{line}" in lines, f"deploy/nginx: add `listen [::]:{line};`"

"""Default security headers: Nginx adds the same values to the responses that it creates."""

import re
from pathlib import Path

import pytest

from bottle_service.http.security_headers import DEFAULT_HEADERS, missing_headers

from ..support.fixtures import Generate


@pytest.fixture(scope="module")
def nginx(generated: Generate) -> str:
    """The text of all Nginx files of a generated project."""
    directory: Path = generated() / "deploy" / "nginx"
    return "".join(path.read_text() for path in sorted(directory.glob("*.conf")))


@pytest.mark.parametrize(("name", "value"), DEFAULT_HEADERS)
def test_nginx_has_the_same_default(nginx: str, name: str, value: str) -> None:
    (variable,) = re.findall(rf"^add_header {name} (\S+) always;$", nginx, re.MULTILINE)
    source = f"$upstream_http_{name.lower().replace('-', '_')}"
    start = re.escape(f"map {source} {variable} ")
    (filled,) = re.findall(start + r'\{\n    "" (.+);', nginx)
    if name == "Cache-Control":
        assert f"default {value};" in nginx
    else:
        assert filled == f'"{value}"'


def test_header_of_the_response_replaces_the_default() -> None:
    names = {name for name, _ in missing_headers([("cache-control", ""), ("X-FRAME-OPTIONS", "")])}
    assert names == {name for name, _ in DEFAULT_HEADERS} - {"Cache-Control", "X-Frame-Options"}

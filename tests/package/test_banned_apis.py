"""Banned APIs: the linter of a generated project rejects hazardous parts of Bottle."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ..support.fixtures import Generate

HAZARDOUS = {
    *("default_app", "route", "get", "post", "put", "delete", "patch", "error", "hook"),
    *("run", "debug", "template", "view", "redirect", "response.set_cookie"),
    *("request.url", "request.urlparts", "request.remote_addr", "request.remote_route"),
    *("request.forms", "request.files", "request.POST", "request.params", "request.query"),
    *("request.json", "request.get_cookie"),
}


@pytest.fixture(scope="module")
def project(generated: Generate) -> Path:
    return generated()


@pytest.fixture(scope="module")
def bans(project: Path) -> dict[str, str]:
    """The message of each banned name."""
    lint = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    banned = lint["flake8-tidy-imports"]["banned-api"]
    return {name: ban["msg"] for name, ban in banned.items()}


def test_hazardous_names_are_banned(bans: dict[str, str]) -> None:
    assert {f"bottle.{name}" for name in HAZARDOUS} <= set(bans)


@pytest.mark.parametrize("statement", ["import bottle", "from bottle import request, response"])
def test_each_ban_is_reported_with_its_message(
    project: Path, bans: dict[str, str], statement: str
) -> None:
    names = list(bans) if statement == "import bottle" else [n for n in bans if n.count(".") > 1]
    uses = [name if statement == "import bottle" else name.partition(".")[2] for name in names]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251"),
            *("--output-format", "json", "--stdin-filename", "src/my_service/banned.py", "-"),
        ],
        cwd=project,
        input="\n".join([statement, *uses]),
        check=False,
        capture_output=True,
        text=True,
    )
    found = {finding["location"]["row"]: finding["message"] for finding in json.loads(done.stdout)}
    assert list(found) == list(range(2, len(uses) + 2))
    for name, message in zip(names, found.values(), strict=True):
        assert message == f"`{name}` is banned: {bans[name]}"


def test_field_of_a_log_entry_that_logging_rejects_is_reported(project: Path) -> None:
    """`extra` raises KeyError for a name of LogRecord's own, which would be a 500."""
    statement = 'import logging\n\nlogging.getLogger(__name__).info("lent", extra={"name": 1})\n'
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "json", "-"]
    done = subprocess.run(
        command, cwd=project, input=statement, check=False, capture_output=True, text=True
    )
    assert [finding["code"] for finding in json.loads(done.stdout)] == ["G101"]

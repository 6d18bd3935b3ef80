"""What Bottle offers and production regrets is refused by the linter, each with its reason."""

import json
import subprocess
import sys
import tomllib

import pytest

from .service import COMMAND, ROOT

LINT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
BANS = LINT["flake8-tidy-imports"]["banned-api"]
HAZARDOUS = {
    *("default_app", "route", "get", "post", "put", "delete", "patch", "error", "hook"),
    *("run", "debug", "template", "view", "redirect", "response.set_cookie"),
    *("request.url", "request.urlparts", "request.remote_addr", "request.remote_route"),
    *("request.forms", "request.files", "request.POST", "request.params", "request.query"),
    *("request.json", "request.get_cookie"),
}


def test_what_is_hazardous_is_banned() -> None:
    assert {f"bottle.{name}" for name in HAZARDOUS} <= set(BANS)


@pytest.mark.parametrize("form", ["import bottle", "from bottle import request, response"])
def test_every_ban_bites(form: str) -> None:
    of_requests = [name for name in BANS if name.count(".") > 1]
    if form == "import bottle":
        uses = list(BANS)
    else:
        uses = [name.removeprefix("bottle.") for name in of_requests]
    file = ROOT / "src" / COMMAND[-1] / "banned.py"
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251", "--output-format", "json", f"--stdin-filename={file}", "-"],
        cwd=ROOT, input="\n".join([form, *uses]), check=False, capture_output=True, text=True,
    )  # fmt: skip
    found = {finding["location"]["row"]: finding["message"] for finding in json.loads(done.stdout)}
    wanted = BANS if form == "import bottle" else of_requests
    assert list(found) == list(range(2, len(uses) + 2))
    for name, message in zip(wanted, found.values(), strict=True):
        assert message == f"`{name}` is banned: {BANS[name]['msg']}"

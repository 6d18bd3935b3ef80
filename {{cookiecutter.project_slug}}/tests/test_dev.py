"""What `make run` does beside serving."""

import os
from pathlib import Path

import pytest
from watchfiles import Change

from {{ cookiecutter.package_name }}.dev import is_source, make_token
from {{ cookiecutter.package_name }}.settings import load_settings


def tokens() -> list[tuple[str, str]]:
    return [(name, token.reveal()) for name, token in load_settings(os.environ).api_tokens.pairs]


@pytest.mark.parametrize("file", ["nothing", ".env", ".env.development"])
def test_a_token_is_made_once(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a blank one stands already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"APP_ENV": "development"})
    Path(file).write_text("API_TOKENS=\n")
    make_token()
    ((name, token),) = made = tokens()
    assert (name, len(token) >= 32) == ("dev", True)
    make_token()
    assert tokens() == made


def test_what_it_is_restarted_for() -> None:
    package = "/here/src/{{ cookiecutter.package_name }}"
    paths = [
        "/here/.env",
        "/here/.env.development",
        f"{package}/app.py",
        f"{package}/views/error.tpl",
        # <% if cookiecutter.database == "sqlite" %>
        f"{package}/migrations/env.py",
        f"{package}/migrations/versions/0002_new.py",  # it would be applied unread
        # <% endif %>
        "/here/db.sqlite3",
        "/here/.venv/lib/module.py",
    ]
    seen = [path for path in paths if is_source(Change.modified, path)]
    # <% if cookiecutter.database == "sqlite" %>
    assert seen == paths[:-3]
    # <% else %>
    assert seen == paths[:-2]
    # <% endif %>

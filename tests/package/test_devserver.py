"""Development server: the token in `.env`, the restart after a change, and the banner."""

import os
from pathlib import Path

import pytest
from watchfiles import Change

from bottle_service.devserver import banner, ensure_dev_token, should_reload

from .sample.app import SERVICE
from .sample.settings import Settings


def clients() -> list[tuple[str, str]]:
    tokens = Settings.load(os.environ).api_tokens
    return [(name, token.reveal()) for name, token in tokens.clients]


@pytest.fixture
def _development(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"APP_ENV": "development"})


@pytest.mark.usefixtures("_development")
@pytest.mark.parametrize("file", ["another-file", ".env", ".env.development"])
def test_dev_token_is_created_once(file: str) -> None:
    """An empty API_TOKENS in a file counts as not set."""
    Path(file).write_text("API_TOKENS=\n")
    ensure_dev_token(Settings)
    ((name, token),) = created = clients()
    assert (name, len(token) >= 32) == ("dev", True)
    ensure_dev_token(Settings)
    assert clients() == created


@pytest.mark.usefixtures("_development")
def test_file_of_the_dev_token_is_private() -> None:
    ensure_dev_token(Settings)
    assert Path(".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("_development")
@pytest.mark.parametrize("text", ["API_TOKENS=me:mine\n", "API_TOKENS=invalid\n"])
def test_dev_token_replaces_no_value(text: str) -> None:
    Path(".env").write_text(text)
    ensure_dev_token(Settings)
    assert Path(".env").read_text() == text


@pytest.mark.parametrize(
    ("path", "reloads"),
    [
        (".env", True),
        (".env.development", True),
        ("src/service/app.py", True),
        ("src/service/views/error.tpl", True),
        ("src/service/migrations/env.py", True),
        ("src/service/migrations/versions/0002_new.py", False),
        ("db.sqlite3", False),
        (".venv/lib/module.py", False),
    ],
)
def test_change_of_a_source_triggers_a_reload(path: str, reloads: bool) -> None:
    """The author reads a new migration before a restart applies it."""
    assert should_reload(Change.modified, f"/project/{path}") == reloads


@pytest.mark.usefixtures("_development")
def test_banner_has_url_token_and_a_first_call() -> None:
    ensure_dev_token(Settings)
    ((_, token),) = clients()
    text = banner(SERVICE, Settings.load(os.environ), "http://127.0.0.1:8000")
    assert f"token of 'dev': {token}" in text
    assert f"-H 'Authorization: Bearer {token}'" in text
    assert """-d '{"name": "World"}' http://127.0.0.1:8000/greetings""" in text

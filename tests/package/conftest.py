"""Fixtures of the sample service, in this process or started."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from webtest import TestApp

from .sample.app import create_app
from .sample.settings import Settings

TOKEN = "t" * 32
ADMIN_TOKEN = "a" * 40


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a service that can start; the working directory is the test's own."""
    monkeypatch.chdir(tmp_path)
    return {
        "APP_ENV": "test",
        "API_TOKENS": f"tester:{TOKEN}",
        "ADMIN_TOKEN": f"{'b' * 40}, {ADMIN_TOKEN}",
    }


@pytest.fixture
def sample_client(environ: dict[str, str]) -> Iterator[TestApp]:
    """A client, without a token, of the sample service in this process."""
    app = create_app(Settings.load(environ))
    yield TestApp(app, lint=False)  # lint rejects methods that the tests make up
    app.close()

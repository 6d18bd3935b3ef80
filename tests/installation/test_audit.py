"""`make audit`, with a fake database that implements OSV's protocol."""

import subprocess
import sys

import pytest

from ..support.generate import TEMPLATE
from ..support.osv_database import KNOWN, Database, vulnerability_database


def audit(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/audit.py", "--service-url", url]
    return subprocess.run(command, cwd=TEMPLATE, check=False, capture_output=True, text=True)


def test_audit_without_known_vulnerability_passes() -> None:
    with vulnerability_database() as url:
        done = audit(url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pinned, none with a known vulnerability") == 4
    assert {"bottle", "gunicorn", "waitress", "alembic", "webtest", "cruft"} <= Database.requested


def test_audit_with_known_vulnerability_fails() -> None:
    with vulnerability_database("waitress") as url:
        done = audit(url)
    assert done.returncode == 1
    assert KNOWN["id"] in done.stdout


def test_audit_without_database_passes_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    done = audit("http://127.0.0.1:9/")
    assert done.returncode == 0
    assert done.stderr.endswith("not audited: the database is unreachable\n")
    assert "none with" not in done.stdout

"""Hostile requests, in process and over sockets: each gets a valid response and a log line.

FUZZ is their number, FUZZ_SEED the seed. A failure prints its seed and its request. `make fuzz` sends
100 000 requests from a new seed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.fixtures import Generate
from ..support.generate import TEMPLATE
from .conversations import conversations
from .sockets import Server, attack

COUNT = int(os.environ.get("FUZZ", "6000"))
SEED = os.environ.get("FUZZ_SEED", "1")

# The share of requests, in percent, for each application and for each server.
IN_PROCESS = [("service", "sqlite", 35), ("service", "none", 20), ("own", "none", 35)]
EACH_SERVER = 5

# The requests must cause each of these statuses; otherwise they would test too little.
STATUSES = {
    "service": {200, 400, 401, 404, 405, 411, 413, 415, 422},
    "own": {200, 400, 404, 405, 411, 413, 415, 422},
}

# Mistakes that the checks must find: file, line and replacement.
BROKEN = [
    ("http/sanitize.py", "filter(_is_cookie_pair, pairs)", "pairs"),
    ("http/sanitize.py", "            _check_path(path)", "            pass"),
    ("http/sanitize.py", "                _repair_headers(environ)", "                pass"),
    ("http/routing.py", "[] if is_head else [out.c", "[out.c"),
    ("http/parsers.py", "UnicodeDecodeError, RecursionError", "UnicodeDecodeError"),
    ("http/parsers.py", "ValueError, LookupError", "ValueError"),
    ("http/request_id.py", "sent if _is_safe(sent) else", "sent or"),
    ("telemetry/access_log.py", "raw_path[:1024]", 'raw_path + environ["QUERY_STRING"]'),
]


def in_process(
    project: Path, directory: Path, application: str, count: int
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.application", application, str(count), SEED],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{TEMPLATE}:{project}/src"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60 + count / 50,
    )


@pytest.mark.parametrize(("application", "database", "share"), IN_PROCESS)
def test_hostile_requests_in_process_get_valid_responses(
    copied: Generate, tmp_path: Path, application: str, database: str, share: int
) -> None:
    done = in_process(copied(database=database), tmp_path, application, COUNT * share // 100)
    assert done.returncode == 0, done.stdout + done.stderr
    statuses = {int(status): count for status, count in json.loads(done.stdout).items()}
    assert statuses.keys() >= STATUSES[application]
    print(f"{application}, {database}: {sum(statuses.values())} requests, {statuses}")


@pytest.mark.parametrize("server", ["gunicorn", "waitress"])
def test_hostile_bytes_over_sockets_get_valid_responses(
    copied: Generate, tmp_path: Path, server: str
) -> None:
    started = Server(copied(wsgi_server=server), tmp_path)
    tally = attack(started, conversations(SEED, COUNT * EACH_SERVER // 100), SEED)
    tally.check_log(started.log())
    print(f"{server}: {dict(tally.statuses)}; sent by the server itself:")
    for (kind, status), count in sorted(tally.own.items()):
        sent, _ = tally.examples[kind, status]
        print(f"  {kind}: {status or 'closed'}, {count} times, as {sent[:100]!r}")


@pytest.mark.parametrize(("file", "line", "replacement"), BROKEN)
def test_broken_service_is_found(
    copied: Generate, tmp_path: Path, file: str, line: str, replacement: str
) -> None:
    project = copied(database="none")
    source = project / "src/bottle_service" / file
    text = source.read_text()
    assert text.count(line) == 1
    source.write_text(text.replace(line, replacement))
    done = in_process(project, tmp_path, "own", 6000)
    assert done.returncode == 1, done.stdout
    assert f"FUZZ_SEED={SEED}: request " in done.stdout, done.stderr


def test_plain_bottle_fails(copied: Generate, tmp_path: Path) -> None:
    done = in_process(copied(), tmp_path, "plain", COUNT // 10)
    assert done.returncode == 0, done.stderr
    statuses = json.loads(done.stdout)
    assert statuses["500"] > 0
    print(f"plain Bottle sent {statuses['500']} x 500 in {sum(statuses.values())}")

"""Releases that fail as a test says: install.sh has to reject them or to roll them back."""

import shutil
from pathlib import Path

from .host import PROGRAMS, WRAPPED, Host

TREE = "/srv/faulty"
FAILURE = "etc/my-service/failure"


def fail(host: Host, words: str) -> None:
    """Choose the failure of such releases, and where it happens."""
    (host.machine.root / FAILURE).write_text(words)


def put_tree(host: Host, ready: int = 15) -> Path:
    """Write the committed project without Git; its install.sh waits `ready` seconds for the release."""
    host.shell(f"mkdir {TREE} && git archive HEAD | tar -x -C {TREE}")
    tree = host.machine.root / TREE[1:]
    shutil.copy(PROGRAMS / "failing.py", tree / "src/my_service/")
    with (tree / "src/my_service/app.py").open("a") as app:
        app.write(WRAPPED.format("failing"))
    host.shell(f"sed -i s/^READY=15/READY={ready}/ {TREE}/deploy/install.sh")
    return tree

"""A booted Debian on which the project lies in /srv, its operator, and the load on the service."""

import contextlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .boot import ADDRESS, PYTHON, Machine
from .documents import blocks
from .template import run

DOMAIN = "my-service.example.com"
UNIT = "my-service.service"
SETTINGS = "etc/my-service/my-service.env"
CERTIFICATE = "etc/my-service/tls/fullchain.pem"
DATA = "/var/lib/my-service"
TOKENS = "/etc/my-service/credentials/API_TOKENS"
SELECT = """
import json, sqlite3, sys
database = sqlite3.connect("/var/lib/my-service/db.sqlite3")
rows = database.execute("SELECT title FROM notes WHERE title LIKE ?", sys.argv[1:])
print(json.dumps([title for title, in rows]))
"""
# The least requests that an event is measured with, three times: `make events` has 5 000.
EVENTS = int(os.environ.get("EVENTS", "0"))
TURNS = 3 if EVENTS else 1
COMMIT = "git add -A && git -c user.name=me -c user.email=me@localhost commit -qm"
# All that has a place on a disk, but for what the machine itself goes on writing.
LISTING = """
find / /run -xdev \\( -path /proc -o -path /sys -o -path /var/log -o -path /run/log \
    -o -path /run/systemd -o -path /run/udev -o -path '/var/lib/my-service/*-shm' \\) -prune \
    -o -not -type d -printf '%p %T@ %s %m %u %l\\n' -o -printf '%p %m %u\\n' | sort
"""

# What a program leaves that mistook a file for the bin, or did not tidy up.
LEFT = "find /dev -maxdepth 1 -type f; find /tmp -maxdepth 1 -name 'tmp.*'"


class Host:
    """A machine and its operator."""

    unit = UNIT  # what runs the service

    def __init__(self, machine: Machine, project: Path, directory: Path, server: str) -> None:
        self.machine = machine
        self.server = server
        self.inside = machine.inside
        self.readme = (project / "deploy" / "README.md").read_text()
        self.project = machine.root / "srv" / project.name
        self.certificate = directory / "fullchain.pem"
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.source = project
        self.fetch("--require-hashes", "-r", str(project / "requirements.txt"))
        shutil.copytree(project, self.project)
        many = "sed -i s/rate=50r/rate=5000r/ deploy/nginx/my-service.conf"  # clients in one
        self.typed(f"{many} && git init -q && {COMMIT} first")

    def fetch(self, *wanted: str) -> None:
        """Put where pip finds it what it would fetch, since the machine has no way out."""
        of_its_kind = [
            word
            for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
            for word in ("--platform", f"{tag}_{os.uname().machine}")
        ]
        wheels = self.certificate.parent / "wheels"
        run(
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--only-binary", ":all:", "--python-version", PYTHON[self.machine.suite],
            *of_its_kind, "--dest", wheels, *wanted, cwd=self.certificate.parent,
        )  # fmt: skip
        shutil.copytree(wheels, self.machine.root / "srv" / "wheels", dirs_exist_ok=True)

    def typed(self, commands: str, status: int = 0, place: str = "/srv/my-service") -> str:
        """Type commands, as root, where the project lies; the first that fails ends them."""
        script = f'sudo() {{ "$@"; }}\ncd {place}\n{commands}'
        return self.inside(
            "bash", "-ec", script, status=status, PIP_NO_INDEX="1", PIP_FIND_LINKS="/srv/wheels"
        )

    def section(self, title: str = "") -> str:
        """Return the commands of one section of deploy/README.md, or those above the first."""
        return "".join(blocks(self.source, "deploy/README.md", title))

    def cures(self) -> list[str]:
        """Return the commands in the texts of README and runbook that ask what runs the service."""
        texts = self.readme + (self.source / "docs/runbook.md").read_text()
        told = r"`((?:systemctl|supervisorctl) [^`\n]*(?:my-service|nginx|update|status)[^`\n]*)`"
        return [*dict.fromkeys(re.findall(told, texts))]

    def install(self, *options: str, status: int = 0, place: str = "/srv/my-service") -> str:
        """Run install.sh from elsewhere, in somebody's environment; it leaves nothing behind."""
        script = f"{place}/deploy/install.sh {' '.join(options)}"
        told = self.typed(f"umask 077; PATH=/usr/bin:/bin outbound=true {script}", status, "/")
        assert self.inside("sh", "-c", LEFT) == ""
        return told

    def head(self) -> str:
        """Return the ID of the release that would be made now."""
        return self.typed("git rev-parse --short HEAD").strip()

    def process(self) -> str:
        """Return the process that serves, or the master of those that do."""
        (process,) = self.show("MainPID")
        return process

    def children(self, process: str) -> list[str]:
        return self.inside("cat", f"/proc/{process}/task/{process}/children").split()

    def workers(self) -> set[str]:
        return set(self.children(self.process()))

    def current(self, process: str = "") -> str:
        """Return the ID of the release that serves: the link's, and the process's."""
        directory = f"/proc/{process or self.process()}/cwd"
        links = self.inside("readlink", "/opt/my-service/current", directory).split()
        assert links[0] == links[1]
        return Path(links[0]).name

    def show(self, *names: str) -> list[str]:
        """Return what systemd tells of the service."""
        told = self.inside("systemctl", "show", UNIT, *(f"--property={name}" for name in names))
        found = dict(line.split("=", 1) for line in told.splitlines())
        return [found[name] for name in names]

    def start(self) -> None:
        """Start the service, whatever it was before."""
        self.inside("systemctl", "reset-failed", UNIT, "my-service.socket")
        self.inside("systemctl", "restart", UNIT)
        assert self.ask("GET", "/readyz")[0] == 200

    def listing(self) -> list[str]:
        """Return every file and directory of the machine."""
        return self.inside("sh", "-c", LISTING).splitlines()

    def journal(self, newest: int | str = "all") -> list[str]:
        """Return what the service itself has written, of so many lines of its unit's journal."""
        self.inside("journalctl", "--sync")
        read = [
            "journalctl",
            f"--unit={UNIT}",
            "--output=json",
            "--no-pager",
            "--all",
            f"--lines={newest}",
        ]
        lines = [json.loads(entry) for entry in self.inside(*read).splitlines()]
        return [line["MESSAGE"] for line in lines if line["_TRANSPORT"] == "stdout"]

    def told(self) -> str:
        """Return the last lines of the journal of what runs the service."""
        self.inside("journalctl", "--sync")
        return self.inside("journalctl", "--unit", self.unit, "--output=cat", "--lines=60")

    def wait_until(self, so: Callable[[], object], seconds: float) -> None:
        """Ask again and again whether it is so; after the time it is a failure."""
        ends = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < ends, self.told()
            time.sleep(0.1)

    def client(self, *arguments: str) -> list[str]:
        token = self.inside("cat", TOKENS).strip().partition(":")[2]
        shutil.copy(self.machine.root / CERTIFICATE, self.certificate)
        script = str(Path(__file__).with_name("load.py"))
        return [sys.executable, script, DOMAIN, ADDRESS, str(self.certificate), token, *arguments]

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        """Send one request from the client."""
        arguments = [method, path] if body is None else [method, path, body]
        with self.machine.client(*self.client(*arguments)) as client:
            answer = json.loads(client.communicate(timeout=60)[0])
        return answer["status"], answer["body"]

    def copy_and_put_back(self) -> None:
        """Type the section on backups: what came after the copy is gone, all else is there."""
        copy, put_back = blocks(self.source, "deploy/README.md", "Backup")
        assert self.ask("POST", "/api/v1/notes", '{"title": "copied"}')[0] == 201
        self.typed(copy)
        assert self.ask("POST", "/api/v1/notes", '{"title": "since then"}')[0] == 201
        (name,) = self.inside("ls", "/var/backups/my-service").split()
        self.typed(put_back.replace("COPY.sqlite3", name))
        assert self.ask("POST", "/api/v1/notes", '{"title": "afterwards"}')[0] == 201
        assert self.titles("copied") == ["copied"]
        assert self.titles("since then") == []

    def kill(self, processes: str) -> tuple[float, float]:
        """Kill what a shell takes these words for; return the moment before, and that of their end."""
        told = self.typed(f"""
            victims=$(echo {processes})
            date +%s.%N
            kill -9 $victims
            for victim in $victims; do
                timeout 5 sh -c "while kill -0 $victim 2>/dev/null; do :; done"
            done
            date +%s.%N
        """)
        before, after = map(float, told.split())
        return before, after

    def titles(self, pattern: str) -> list[str]:
        """Return the titles of the notes that are in the database."""
        select = ["runuser", "-u", "my-service", "--", "python3", "-c", SELECT, pattern]
        return sorted(json.loads(self.inside(*select)))

    @contextlib.contextmanager
    def load(self, event: str, least: int = 200, pause: float = 0.2) -> Iterator[dict[str, Any]]:
        """Keep the client busy meanwhile; give, at the end, what came of its requests."""
        outcome: dict[str, Any] = {}
        if EVENTS:
            least, pause = EVENTS, 0
        with self.machine.client(*self.client(str(least), str(pause))) as load:
            try:
                time.sleep(1)
                yield outcome
                told, _ = load.communicate(timeout=120 + least / 10)
            finally:
                load.kill()
        outcome |= json.loads(told)
        self.events.append((event, outcome))

    @contextlib.contextmanager
    def under_load(
        self, event: str, killed: int = 0, again: bool = False, **how: Any
    ) -> Iterator[list[tuple[float, float]]]:
        """Keep the client busy meanwhile. No request fails, but for those on killed processes.

        A GET is one if its answer had begun; where others die `again`, if its second try met one.
        What was acknowledged is there, and nothing is there twice. Of kills whose times are put
        into the list that this gives, what failed was in flight.
        """
        kills: list[tuple[float, float]] = []
        with self.load(event, **how) as outcome:
            yield kills
        assert outcome["created"]
        failed = outcome["failed"]
        allowed = ["POST"] + ["GET IncompleteRead"] * bool(killed) + ["GET 502"] * again
        assert [kind for kind in failed if not kind.startswith(tuple(allowed))] == [], failed
        for began, ended in outcome["when"] if kills else ():
            # A moment later Nginx may still hold a connection of theirs for a good one.
            assert any(began <= after + 0.1 and before <= ended for before, after in kills), [
                [began, ended],
                kills,
                failed,
            ]
        assert outcome["again"] == 0 or "Nginx" in event
        assert len(failed) <= killed, [
            failed,
            self.inside("tail", "-n5", "/var/log/nginx/error.log"),
        ]
        there = self.titles(f"{outcome['created'][0].partition('-')[0]}-%")
        assert len(there) == len(set(there))
        assert set(there) >= set(outcome["created"])
        # A POST that failed may have been carried out before the answer was lost.
        assert len(there) <= len(outcome["created"]) + len(failed)

    def table(self) -> str:
        """Return what each event did to the requests, as docs/events.md has it."""
        lines = [
            f"\n\n| {self.machine.suite}, {self.server} | loads | requests | failed GET | failed POST "
            "| slowest |\n|---|---|---|---|---|---|"
        ]
        for event in dict.fromkeys(name for name, _ in self.events):
            outcomes = [outcome for name, outcome in self.events if name == event]
            failed = [kind for outcome in outcomes for kind in outcome["failed"]]
            posts = sum(kind.startswith("POST") for kind in failed)
            total = sum(outcome["total"] for outcome in outcomes)
            slowest = max(outcome["slowest"] for outcome in outcomes)
            figures = f"{len(outcomes)} | {total} | {len(failed) - posts} | {posts}"
            lines.append(f"| {event} | {figures} | {slowest:.1f} s |")
        return "\n".join(lines)

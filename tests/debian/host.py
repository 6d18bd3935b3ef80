"""Host of the service: a booted Debian with the project in /srv, its operator and its clients."""

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

from ..support.debian_tree import PYTHON
from ..support.markdown import blocks
from ..support.process import run
from .machine import ADDRESS, Machine

DOMAIN = "my-service.example.com"
UNIT = "my-service.service"
SETTINGS = "etc/my-service/my-service.env"
CERTIFICATE = "etc/my-service/tls/fullchain.pem"
DATA = "/var/lib/my-service"
BACKUPS = "/var/lib/my-service/backups"
TOKENS = "/etc/my-service/credentials/API_TOKENS"
UNITS = [f"/etc/systemd/system/{name}" for name in (UNIT, "my-service.socket")]
FILES = [
    "/etc/nginx/sites-available/my-service.conf",
    "/etc/nginx/snippets/my-service-proxy.conf",
    "/etc/sysusers.d/my-service.conf",
]
# The program of supervisord that serves.
SERVICE = "my-service:1"
PROGRAMS = Path(__file__).parent / "programs"
# Requests during each event, at least, for `make availability`: it measures each event three times.
REQUESTS = int(os.environ.get("AVAILABILITY", "0"))
TURNS = 3 if REQUESTS else 1
COMMIT = "git add -A && git -c user.name=me -c user.email=me@localhost commit -qm"
# Files and directories, without those that the machine itself keeps writing.
LISTING = """
find / /run -xdev \\( -path /proc -o -path /sys -o -path /var/log -o -path /run/log \
    -o -path /run/systemd -o -path /run/udev -o -path '/var/lib/my-service/*-shm' \\) -prune \
    -o -not -type d -printf '%p %T@ %s %m %u %l\\n' -o -printf '%p %m %u\\n' | sort
"""

# Files in /dev, from a program that wrote to a mistyped /dev/null, and temporary files left behind.
LEFTOVERS = "find /dev -maxdepth 1 -type f; find /tmp -maxdepth 1 -name 'tmp.*'"


# Added to app.py of a release: a program of tests/debian/programs wraps create_app.
WRAPPED = """

from dataclasses import replace

from .{0} import {0}

SERVICE = replace(SERVICE, create_app={0}(create_app))
"""


class Host:
    """Machine and its operator."""

    unit = UNIT  # the unit that runs the service

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
        # All clients of the tests have one address.
        limit = "sed -i s/rate=50r/rate=5000r/ deploy/nginx/my-service.conf"
        self.shell(f"{limit} && git init -q && {COMMIT} first")

    def fetch(self, *wanted: str) -> None:
        """Download packages for the machine, which has no network to the package index."""
        platforms = [
            word
            for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
            for word in ("--platform", f"{tag}_{os.uname().machine}")
        ]
        wheels = self.certificate.parent / "wheels"
        run(
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--only-binary", ":all:", "--python-version", PYTHON[self.machine.suite],
            *platforms, "--dest", wheels, *wanted, cwd=self.certificate.parent,
        )  # fmt: skip
        shutil.copytree(wheels, self.machine.root / "srv" / "wheels", dirs_exist_ok=True)

    def shell(self, commands: str, status: int = 0, cwd: str = "/srv/my-service") -> str:
        """Run shell commands as root in the project's directory, up to the first that fails."""
        script = f'sudo() {{ "$@"; }}\ncd {cwd}\n{commands}'
        return self.inside(
            "bash", "-ec", script, status=status, PIP_NO_INDEX="1", PIP_FIND_LINKS="/srv/wheels"
        )

    def section(self, title: str = "") -> str:
        """Return the commands of one section of deploy/README.md, or those above the first."""
        return "".join(blocks(self.source, "deploy/README.md", title))

    def runbook_commands(self) -> list[str]:
        """Return the supervisor's commands in the texts of deploy/README.md and docs/runbook.md."""
        texts = self.readme + (self.source / "docs/runbook.md").read_text()
        pattern = (
            r"`((?:systemctl|supervisorctl) [^`\n]*(?:my-service|nginx|update|status)[^`\n]*)`"
        )
        return [*dict.fromkeys(re.findall(pattern, texts))]

    def install(self, *options: str, status: int = 0, tree: str = "/srv/my-service") -> str:
        """Run a tree's install.sh from / with other settings of the shell; check for leftovers."""
        script = f"{tree}/deploy/install.sh {' '.join(options)}"
        output = self.shell(f"umask 077; PATH=/usr/bin:/bin outbound=true {script}", status, "/")
        assert self.inside("sh", "-c", LEFTOVERS) == ""
        return output

    def head_release(self) -> str:
        """Return the ID of the release that install.sh would make now."""
        return self.shell("git rev-parse --short HEAD").strip()

    def process(self) -> str:
        """Return the service's process ID: the master's, if there are workers."""
        (process,) = self.unit_properties("MainPID")
        return process

    def children(self, process: str) -> list[str]:
        """Return the process IDs of the children."""
        return self.inside("cat", f"/proc/{process}/task/{process}/children").split()

    def workers(self) -> set[str]:
        """Return the process IDs of the workers."""
        return set(self.children(self.process()))

    def current_release(self, process: str = "") -> str:
        """Return the ID of the running release; check that link and process agree."""
        directory = f"/proc/{process or self.process()}/cwd"
        links = self.inside("readlink", "/opt/my-service/current", directory).split()
        assert links[0] == links[1]
        return Path(links[0]).name

    def unit_properties(self, *names: str) -> list[str]:
        """Return properties of the service's unit."""
        output = self.inside("systemctl", "show", UNIT, *(f"--property={name}" for name in names))
        found = dict(line.split("=", 1) for line in output.splitlines())
        return [found[name] for name in names]

    def start(self) -> None:
        """Restart the service, even after systemd has given it up."""
        self.inside("systemctl", "reset-failed", UNIT, "my-service.socket")
        self.inside("systemctl", "restart", UNIT)
        assert self.request("GET", "/readyz")[0] == 200

    @contextlib.contextmanager
    def wrapped(self, program: str) -> Iterator[None]:
        """Serve the current release with a program that wraps its `create_app`."""
        package = (
            self.machine.root / f"opt/my-service/releases/{self.current_release()}/src/my_service"
        )
        app, copied = package / "app.py", package / f"{program}.py"
        original = app.read_text()
        app.write_text(original + WRAPPED.format(program))
        shutil.copy(PROGRAMS / copied.name, copied)
        try:
            self.start()
            yield
        finally:
            app.write_text(original)
            copied.unlink()
            self.start()

    def check_restart_with_open_stream(self, restart: str) -> None:
        """Restart the service while a client reads an event stream: no request fails or waits long."""
        url = f"--insecure --resolve {DOMAIN}:443:127.0.0.1 https://{DOMAIN}/stream"
        read = f"exec curl --silent --no-buffer {url} >/run/stream"
        with self.wrapped("streaming"):
            self.inside("systemd-run", "--quiet", "--collect", "--unit=stream", "sh", "-c", read)
            received = self.machine.root / "run/stream"
            self.wait_until(lambda: received.exists() and "tick" in received.read_text(), 10)
            with self.under_load("restart, with an open event stream"):
                self.shell(restart)
            # An open stream kept the old process for 40 s.
            assert self.events[-1][1]["slowest"] < 8
            self.inside("sh", "-c", "! systemctl is-active --quiet stream")

    def exposure(self, unit: str = UNIT) -> float:
        """Return systemd's rating of a unit's sandbox: 0 is the best, 10 is no sandbox."""
        output = self.inside("systemd-analyze", "security", "--no-pager", unit)
        (figure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", output)
        return float(figure)

    def file_listing(self) -> list[str]:
        """Return every file and directory of the machine, with times, modes and owners."""
        return self.inside("sh", "-c", LISTING).splitlines()

    def journal(self, newest: int | str = "all") -> list[str]:
        """Return the service's own lines among the newest lines of its unit's journal."""
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

    def journal_tail(self) -> str:
        """Return the last lines of the journal of the unit that runs the service."""
        self.inside("journalctl", "--sync")
        return self.inside("journalctl", "--unit", self.unit, "--output=cat", "--lines=60")

    def wait_until(self, condition: Callable[[], object], seconds: float) -> None:
        """Poll the condition until it is true; fail after the time."""
        ends = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends, self.journal_tail()
            time.sleep(0.1)

    def client(self, *arguments: str) -> list[str]:
        """Return the command of the client, with the token and the certificate of the site."""
        token = self.inside("cat", TOKENS).strip().partition(":")[2]
        shutil.copy(self.machine.root / CERTIFICATE, self.certificate)
        script = str(Path(__file__).with_name("load_generator.py"))
        return [sys.executable, script, DOMAIN, ADDRESS, str(self.certificate), token, *arguments]

    def request(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        """Send one request from the client; return status and body."""
        arguments = [method, path] if body is None else [method, path, body]
        with self.machine.client(*self.client(*arguments)) as client:
            response = json.loads(client.communicate(timeout=60)[0])
        return response["status"], response["body"]

    def check_backup_and_restore(self, revision: str = "0001_notes") -> None:
        """Run the commands on backups: only notes from between backup and restore are lost."""
        backup, restore, switch = blocks(self.source, "deploy/README.md", "Backup")
        assert self.request("POST", "/api/v1/notes", '{"title": "copied"}')[0] == 201
        (path,) = re.findall(r"my-service: backup (\S+) \(\d+ bytes\)", self.shell(backup))
        assert self.inside("stat", "--format=%U %a", path) == "my-service 600\n"
        assert self.inside("ls", BACKUPS).split()[-1] == Path(path).name
        assert self.request("POST", "/api/v1/notes", '{"title": "since then"}')[0] == 201
        output = self.shell(re.sub(r"BACKUP\.\w+", Path(path).name, restore))
        assert re.search(rf"restored\S* is a database at revision {revision}\n", output)
        self.shell(switch)
        assert self.request("POST", "/api/v1/notes", '{"title": "afterwards"}')[0] == 201
        assert self.titles("copied") == ["copied"]
        assert self.titles("since then") == []

    def kill(self, processes: str) -> tuple[float, float]:
        """Kill the processes that a shell expands these words to; return the times before and after."""
        output = self.shell(f"""
            victims=$(echo {processes})
            date +%s.%N
            kill -9 $victims
            for victim in $victims; do
                timeout 5 sh -c "while kill -0 $victim 2>/dev/null; do :; done"
            done
            date +%s.%N
        """)
        before, after = map(float, output.split())
        return before, after

    def titles(self, pattern: str) -> list[str]:
        """Return the titles in the database that match a LIKE pattern."""
        program = (PROGRAMS / "select_titles.py").read_text()
        select = ["runuser", "-u", "my-service", "--", "python3", "-c", program, pattern]
        return sorted(json.loads(self.inside(*select)))

    @contextlib.contextmanager
    def load(self, event: str, least: int = 200, pause: float = 0.2) -> Iterator[dict[str, Any]]:
        """Send requests meanwhile; the yielded dictionary has their outcome at the end."""
        outcome: dict[str, Any] = {}
        if REQUESTS:
            least, pause = REQUESTS, 0
        with self.machine.client(*self.client(str(least), str(pause))) as load:
            try:
                time.sleep(1)
                yield outcome
                output, _ = load.communicate(timeout=120 + least / 10)
            finally:
                load.kill()
        outcome |= json.loads(output)
        self.events.append((event, outcome))

    @contextlib.contextmanager
    def under_load(
        self, event: str, killed: int = 0, retries_fail: bool = False, **load: Any
    ) -> Iterator[list[tuple[float, float]]]:
        """Send requests meanwhile, and check their outcome. At most `killed` of them may fail.

        Only a POST, or a GET whose response had begun, may fail. With `retries_fail`, a GET may also
        fail with 502, because Nginx's retry met another killed process. Acknowledged notes exist, and
        no note exists twice. The test may append the times of its kills to the yielded list; then
        each failed request was in flight during one of them.
        """
        kills: list[tuple[float, float]] = []
        with self.load(event, **load) as outcome:
            yield kills
        assert outcome["created"]
        failed = outcome["failed"]
        allowed = ["POST"] + ["GET IncompleteRead"] * bool(killed) + ["GET 502"] * retries_fail
        assert [kind for kind in failed if not kind.startswith(tuple(allowed))] == [], failed
        for began, ended in outcome["when"] if kills else ():
            # For a moment, Nginx may still use a connection of a killed process.
            assert any(began <= after + 0.1 and before <= ended for before, after in kills), [
                [began, ended],
                kills,
                failed,
            ]
        assert outcome["reconnects"] == 0 or "Nginx" in event
        assert len(failed) <= killed, [
            failed,
            self.inside("tail", "-n5", "/var/log/nginx/error.log"),
        ]
        self.check_notes(outcome)

    def check_notes(self, outcome: dict[str, Any]) -> None:
        """Check that the acknowledged notes of a load exist, and that no note exists twice."""
        titles = self.titles(f"{outcome['created'][0].partition('-')[0]}-%")
        assert len(titles) == len(set(titles))
        assert set(titles) >= set(outcome["created"])
        # A failed POST may have been committed before its response was lost.
        assert len(titles) <= len(outcome["created"]) + len(outcome["failed"])

    def availability_table(self) -> str:
        """Return the outcome of each event as a Markdown table, as in docs/measurements/availability.md."""
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


class PostgresqlHost(Host):
    """Machine with a PostgreSQL of its own, and its operator."""

    def query(self, statement: str, database: str = "postgres", user: str = "postgres") -> str:
        """Return the rows of a statement, as a user of the machine with peer authentication."""
        psql = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        return self.inside(
            "runuser", "-u", user, "--", "env", "-C", "/", *psql, "-d", database, "-c", statement
        )

    def titles(self, pattern: str) -> list[str]:
        """Return the titles in the database of the settings that match a LIKE pattern."""
        settings = (self.machine.root / SETTINGS).read_text()
        urls = [
            "postgresql:///my-service",
            *re.findall("^DATABASE_URL=(.+)$", settings, re.MULTILINE),
        ]
        select = f"SELECT title FROM notes WHERE title LIKE '{pattern}'"  # noqa: S608
        return sorted(self.query(select, urls[-1], user="my-service").splitlines())


class SupervisordHost(Host):
    """Machine whose supervisord runs the service, and its operator."""

    unit = "supervisor.service"

    def process(self, name: str = SERVICE) -> str:
        """Return the process ID of a program, or 0 while it does not run."""
        return self.shell(f"supervisorctl pid {name} || true").strip()

    def start(self) -> None:
        """Restart the service."""
        self.shell(f"supervisorctl restart {SERVICE}")
        self.wait_until(lambda: self.request("GET", "/readyz")[0] == 200, 30)

    def states(self) -> dict[str, str]:
        """Return the state of each program."""
        lines = self.shell("supervisorctl status || true").splitlines()
        return {line.split()[0]: line.split()[1] for line in lines}

"""The service on a booted Debian, installed by the commands of its own deploy/README.md.

The tests of one machine follow on each other as its days would: installed, restarted, a release,
rolled back, wrongly set, stopped.
"""

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

import pytest

from .boot import ADDRESS, PROGRAMS, PYTHON, Machine
from .conftest import Generate
from .template import run

DOMAIN = "my-service.example.com"
UNIT = "my-service.service"
UNITS = [f"/etc/systemd/system/{name}" for name in (UNIT, "my-service.socket")]
SETTINGS = "etc/my-service/my-service.env"
TOKENS = "/etc/my-service/credentials/API_TOKENS"
PRIVATE = ["/tmp", "/var/tmp", "/dev/shm"]  # noqa: S108
CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 1 "
    f"-subj /CN={DOMAIN} -addext subjectAltName=DNS:{DOMAIN} "
    "-keyout /etc/my-service/tls/privkey.pem -out /etc/my-service/tls/fullchain.pem"
)
SELECT = """
import json, sqlite3, sys
database = sqlite3.connect("/var/lib/my-service/db.sqlite3")
rows = database.execute("SELECT title FROM notes WHERE title LIKE ?", sys.argv[1:])
print(json.dumps([title for title, in rows]))
"""
COMMIT = "git add -A && git -c user.name=me -c user.email=me@localhost commit -qm"


class Host:
    """A machine on which the project lies in /root, and its operator."""

    def __init__(self, machine: Machine, project: Path, directory: Path) -> None:
        self.machine = machine
        self.inside = machine.inside
        self.readme = (project / "deploy" / "README.md").read_text()
        self.project = machine.root / "srv" / project.name
        self.certificate = directory / "fullchain.pem"
        # What pip would fetch, since the machine has no way out.
        wheels = directory / "wheels"
        of_its_kind = [
            word
            for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
            for word in ("--platform", f"{tag}_{os.uname().machine}")
        ]
        run(
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--require-hashes", "--only-binary", ":all:", "--python-version",
            PYTHON[machine.suite], *of_its_kind, "--dest", wheels,
            "-r", project / "requirements.txt", cwd=directory,
        )  # fmt: skip
        shutil.copytree(wheels, machine.root / "srv" / "wheels")
        shutil.copytree(project, self.project)
        many = "sed -i s/rate=50r/rate=5000r/ deploy/nginx/my-service.conf"  # clients in one
        self.typed(f"{many} && git init -q && {COMMIT} first")

    def typed(self, commands: str) -> str:
        """Run the commands in a shell that ends at the first that fails, where the project lies."""
        script = f"cd /srv/{self.project.name}\n{commands}"
        wheels = "/srv/wheels"
        return self.inside("bash", "-exc", script, PIP_NO_INDEX="1", PIP_FIND_LINKS=wheels)

    def section(self, title: str) -> str:
        """Return the commands of one section of deploy/README.md."""
        (text,) = re.findall(rf"^## {title}\n(.*?)^## ", self.readme, re.MULTILINE | re.DOTALL)
        blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert blocks
        return "".join(blocks)

    def install(self) -> None:
        """Do what the README says for a new host."""
        self.typed(self.section("The first time"))
        self.inside("sh", "-c", CERTIFICATE)
        tls = self.machine.root / "etc/my-service/tls"
        shutil.copy(tls / "fullchain.pem", self.certificate)
        self.typed(self.section("Each release"))

    def head(self) -> str:
        """Return the name of the release that would be made now."""
        return self.typed("git rev-parse --short HEAD").splitlines()[-1]

    def show(self, *names: str) -> list[str]:
        """Return what systemd tells of the service."""
        told = self.inside("systemctl", "show", UNIT, *(f"--property={name}" for name in names))
        found = dict(line.split("=", 1) for line in told.splitlines())
        return [found[name] for name in names]

    def client(self, *arguments: str) -> list[str]:
        token = self.inside("cat", TOKENS).strip().partition(":")[2]
        script = str(Path(__file__).with_name("load.py"))
        return [sys.executable, script, DOMAIN, ADDRESS, str(self.certificate), token, *arguments]

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        """Send one request from the client."""
        arguments = [method, path] if body is None else [method, path, body]
        told, _ = self.machine.client(*self.client(*arguments)).communicate(timeout=60)
        answer = json.loads(told)
        return answer["status"], answer["body"]

    @contextlib.contextmanager
    def under_load(self, least: int = 500, pause: float = 0.03) -> Iterator[None]:
        """Keep the client busy meanwhile; no request fails, and what was acknowledged is there."""
        load = self.machine.client(*self.client(str(least), str(pause)))
        try:
            time.sleep(1)
            yield
            told, _ = load.communicate(timeout=120)
        finally:
            load.kill()
        outcome: dict[str, Any] = json.loads(told)
        assert outcome["failed"] == []
        assert outcome["total"] >= least
        assert outcome["created"]
        run_of_it = outcome["created"][0].partition("-")[0]
        select = ["runuser", "-u", "my-service", "--", "python3", "-c", SELECT, f"{run_of_it}-%"]
        assert sorted(json.loads(self.inside(*select))) == sorted(outcome["created"])

    def journal(self, newest: int | str = "all") -> list[str]:
        """Return what the service itself has written, of so many lines of its unit's journal."""
        self.inside("journalctl", "--sync")
        read = ["journalctl", f"--unit={UNIT}", "--output=json", "--no-pager", f"--lines={newest}"]
        entries = self.inside(*read)
        lines = [json.loads(entry) for entry in entries.splitlines()]
        return [line["MESSAGE"] for line in lines if line["_TRANSPORT"] == "stdout"]


@pytest.fixture(
    scope="module", params=[(suite, server) for suite in PYTHON for server in ("gunicorn", "waitress")],
    ids="-".join,
)  # fmt: skip
def host(
    request: pytest.FixtureRequest,
    generated: Generate,
    needs: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Host]:
    needs(*PROGRAMS, also=os.getuid() == 0, reason="only root can boot a machine")
    suite, server = request.param
    directory = tmp_path_factory.mktemp("boot")
    with Machine(suite, directory) as machine:
        host = Host(machine, generated(wsgi_server=server), directory)
        host.install()
        yield host


def test_the_readme_installs_it(host: Host) -> None:
    assert host.show("ActiveState", "NRestarts") == ["active", "0"]
    assert host.inside("systemctl", "is-enabled", "my-service.socket") == "enabled\n"
    assert host.inside("systemd-analyze", "verify", *UNITS) == ""
    assert "[warn]" not in host.inside("nginx", "-t")
    assert host.machine.state() == "running"


def test_it_answers(host: Host) -> None:
    for path in ("/livez", "/readyz", "/", "/static/app.css"):
        assert host.ask("GET", path)[0] == 200
    assert host.machine.http_version(DOMAIN, host.certificate) == "2"
    status, text = host.ask("POST", "/api/v1/notes", '{"title": "first", "body": "words"}')
    assert status == 201
    note = json.loads(text)
    assert note["body"] == "words"
    assert host.ask("GET", f"/api/v1/notes/{note['id']}") == (200, text)


def test_its_sandbox_holds(host: Host) -> None:
    told = host.inside("systemd-analyze", "security", "--no-pager", UNIT)
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert float(exposure) <= 0.4
    (process,) = host.show("MainPID")
    status = host.inside("cat", f"/proc/{process}/status")
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    there = ["nsenter", f"--target={process}", "--mount"]
    # Even root could not write elsewhere where the service is.
    directories = ["find", "/", "-path", "/proc", "-prune", "-o", "-type", "d"]
    writable = host.inside(*there, *directories, "-writable", "-print", "-prune").split()
    assert sorted(writable) == sorted([*PRIVATE, "/var/lib/my-service"])
    identity = ["stat", "--format=%d:%i", *PRIVATE]
    same = zip(host.inside(*identity).split(), host.inside(*there, *identity).split(), strict=True)
    assert all(outside != within for outside, within in same)


def test_restarts_lose_no_request(host: Host) -> None:
    with host.under_load(least=3000, pause=0):
        for _ in range(3):
            host.inside("systemctl", "restart", UNIT)
            # Five starts within ten seconds would be taken for a crash loop.
            time.sleep(2)


def test_a_release_and_the_way_back(host: Host) -> None:
    before = host.head()
    (view,) = host.project.glob("src/*/views/home.tpl")
    view.write_text(view.read_text() + "    <p>Second release</p>\n")
    host.typed(f"{COMMIT} second")
    with host.under_load():
        host.typed(host.section("Each release"))
    assert "Second release" in host.ask("GET", "/")[1]
    with host.under_load():
        host.typed(host.section("Roll back").replace("releases/ID", f"releases/{before}"))
    assert "Second release" not in host.ask("GET", "/")[1]


def test_wrong_settings_are_refused(host: Host) -> None:
    settings = host.machine.root / SETTINGS
    right = settings.read_text()
    settings.write_text(f"{right}WEB_TREADS=4\n")
    host.inside("systemctl", "restart", UNIT, status=1)
    assert host.show("ActiveState", "ExecMainStatus") == ["failed", "2"]
    line = len(right.splitlines()) + 1
    assert f"  WEB_TREADS (/{SETTINGS} line {line}): is no setting of" in host.journal(20)[-1]
    settings.write_text(right)
    host.inside("systemctl", "reset-failed", UNIT)
    host.inside("systemctl", "start", UNIT)
    assert host.ask("GET", "/readyz")[0] == 200


def test_a_missing_secret_is_refused(host: Host) -> None:
    host.inside("mv", TOKENS, "/srv/")
    host.inside("systemctl", "restart", UNIT, status=1)
    assert host.show("ActiveState", "ExecMainStatus") == ["failed", "2"]
    assert "  API_TOKENS: 5 routes ask for a token and there is none" in host.journal(20)[-1]
    host.inside("mv", "/srv/API_TOKENS", TOKENS)
    host.inside("systemctl", "reset-failed", UNIT)
    host.inside("systemctl", "start", UNIT)
    assert host.ask("GET", "/readyz")[0] == 200


def test_it_stops_and_leaves_a_clean_journal(host: Host) -> None:
    host.inside("systemctl", "stop", UNIT)
    assert host.show("ActiveState", "Result", "ExecMainStatus") == ["inactive", "success", "0"]
    lines = [line for line in host.journal() if not line.startswith(("my-service cannot", "  "))]
    levels = [json.loads(line)["log.level"] for line in lines]
    assert set(levels) & {"info"}
    assert not set(levels) & {"error", "critical"}
    assert "Suppressed" not in host.inside("journalctl", "--unit=systemd-journald", "--no-pager")

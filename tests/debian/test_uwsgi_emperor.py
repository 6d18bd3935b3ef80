"""uWSGI as a vassal of Debian's uWSGI emperor, as deploy/uwsgi/README.md describes it."""

import re
import time
from collections.abc import Iterator

import pytest

from ..support.fixtures import Generate
from ..support.markdown import blocks
from . import failing_releases
from .host import COMMIT, DOMAIN, PROGRAMS, SETTINGS, TOKENS, Host
from .machine import Booted

EMPEROR = "emperor.uwsgi.service"
LINK = "/etc/uwsgi/vassals/my-service.ini"
FILE = "deploy/uwsgi/my-service.ini"
# Files of a release; the units are for the change back to systemd.
OWN = [
    "/etc/sysusers.d/my-service.conf",
    "/etc/systemd/system/my-service.service",
    "/etc/systemd/system/my-service.socket",
    "/etc/tmpfiles.d/my-service.conf",
]
# In the check by the previous vassal's process, and in the process that serves.
FAILURES = [
    (f"hang {EMPEROR}", "did not become ready", set()),
    (f"hang {EMPEROR} uwsgi", "did not become ready", {"502"}),
    (f"crash {EMPEROR} uwsgi", "did not stay ready", {"502", "IncompleteRead"}),
]


class Vassal(Host):
    """Machine whose emperor runs the service, and its operator."""

    unit = EMPEROR

    def emperor_section(self, title: str) -> str:
        """Return the commands of one section of deploy/uwsgi/README.md."""
        return "".join(blocks(self.source, "deploy/uwsgi/README.md", title))

    def emperor(self) -> str:
        """Return the emperor's process ID."""
        return self.inside("systemctl", "show", "--property=MainPID", "--value", EMPEROR).strip()

    def processes(self) -> list[str]:
        """Return the process IDs of the service's user."""
        return self.inside("ps", "-u", "my-service", "-o", "pid=").split()

    def vassal(self) -> str:
        """Return the process ID of the vassal, the parent of the service."""
        (process,) = self.children(self.emperor())
        return process

    def process(self) -> str:
        """Return the process ID of uWSGI's master."""
        (process,) = self.children(self.vassal())
        return process


@pytest.fixture(scope="module", params=["uwsgi"])
def host(request: pytest.FixtureRequest, generated: Generate, booted: Booted) -> Iterator[Vassal]:
    """Return a machine with the service under systemd, and a running emperor."""
    with booted("trixie", "emperor") as (machine, directory):
        project = generated(wsgi_server=request.param)
        host = Vassal(machine, project, directory, "uWSGI under an emperor")
        host.install("--self-signed")
        host.shell(host.emperor_section(""))
        yield host
        print(host.availability_table())


@pytest.fixture
def vassal(host: Vassal) -> Vassal:
    if LINK not in host.inside("find", "/etc/uwsgi"):
        host.shell(host.emperor_section("From systemd to the emperor"))
    assert host.request("GET", "/readyz")[0] == 200
    return host


def test_change_from_systemd_loses_no_request(host: Vassal) -> None:
    with host.under_load("from systemd to the emperor"):
        host.shell(host.emperor_section("From systemd to the emperor"))
    assert host.unit_properties("ActiveState") == ["inactive"]


def test_vassal_processes_and_files_are_right(vassal: Vassal) -> None:
    for path in ("/livez", "/", "/static/app.css"):
        assert vassal.request("GET", path)[0] == 200
    assert vassal.machine.http_version(DOMAIN, vassal.certificate) == "2"
    assert vassal.current_release() == vassal.head_release()
    user = vassal.inside("id", "--user", "my-service").strip()
    for process in (vassal.vassal(), vassal.process(), *vassal.children(vassal.process())):
        status = vassal.inside("cat", f"/proc/{process}/status")
        for line in (rf"Uid:(\t{user}){{4}}", r"CapEff:\t0+", r"NoNewPrivs:\t1", r"Umask:\t0027"):
            assert re.search(f"^{line}$", status, re.MULTILINE)
        assert vassal.inside("cat", f"/proc/{process}/cmdline").split("\0")[0] == (
            "/opt/my-service/current/.venv/bin/python"
        )
    # The emperor may change its user and signal other users' processes, and nothing else.
    assert "CapBnd:\t00000000000000e0\n" in vassal.inside("cat", f"/proc/{vassal.emperor()}/status")
    for path, mode in (("credentials", "2750"), ("credentials/API_TOKENS", "640")):
        output = vassal.inside("stat", "--format=%U:%G %a", f"/etc/my-service/{path}")
        assert output == f"root:my-service {mode}\n"
    secret = vassal.inside("cat", TOKENS).strip().partition(":")[2]
    assert secret not in vassal.inside("cat", f"/proc/{vassal.process()}/environ")
    assert not vassal.shell("find /etc/uwsgi -not -type l \\( -not -user root -or -perm /022 \\)")


def test_socket_is_restricted_to_nginx(vassal: Vassal) -> None:
    """A client of uWSGI's protocol can choose the code to run, so only Nginx may connect."""
    assert vassal.inside("stat", "--format=%U:%G %a", "/run/uwsgi") == "root:www-data 750\n"
    assert vassal.inside("readlink", "/run/my-service.sock") == "uwsgi/my-service.socket\n"
    assert " 2048 " in vassal.shell("ss -xl src /run/uwsgi/my-service.socket")
    connect = (PROGRAMS / "connect.py").read_text()
    for user, status in (("www-data", 0), ("nobody", 1), ("my-service", 1)):
        vassal.inside("runuser", "-u", user, "--", "python3", "-c", connect, status=status)
    assert "Permission denied" in vassal.shell(f"runuser -u nobody -- cat {TOKENS}", status=1)


def test_reload_loses_no_request(vassal: Vassal) -> None:
    before = vassal.process()
    with vassal.under_load("reload (touch)", least=500, pause=0.02):
        vassal.shell(vassal.emperor_section("Reload under the emperor"))
        vassal.wait_until(lambda: before not in vassal.inside("ps", "-eo", "pid").split(), 60)
    assert vassal.request("GET", "/readyz")[0] == 200
    assert vassal.process() != before


def test_invalid_settings_are_reported_and_not_used(vassal: Vassal) -> None:
    settings, before = vassal.machine.root / SETTINGS, vassal.process()
    original = settings.read_text()
    settings.write_text(f"{original}WEB_TREADS=4\n")
    time.sleep(1)  # the emperor compares modification times in whole seconds
    vassal.shell(vassal.emperor_section("Reload under the emperor"))
    vassal.wait_until(lambda: "did you mean WEB_THREADS?" in vassal.journal_tail(), 60)
    assert vassal.request("GET", "/readyz")[0] == 200
    # The process of the check may exit a moment later.
    vassal.wait_until(lambda: vassal.children(vassal.vassal()) == [before], 20)
    settings.write_text(original)


def test_release_and_rollback_lose_no_request(vassal: Vassal) -> None:
    before = vassal.current_release()
    vassal.shell(f"touch new && git add new && {COMMIT} second")
    # Removed and restricted by hand; the release has to install these files and the mode again.
    vassal.shell(f"rm {' '.join(OWN)} && chmod 600 {TOKENS}")
    assert "would restart the vassal my-service\n" in vassal.install("--dry-run")
    assert vassal.inside("stat", "--format=%a", TOKENS) == "600\n"
    with vassal.under_load("release"):
        output = vassal.install()
    assert re.findall("^install (.*)$", output, re.MULTILINE) == OWN
    assert "restart the vassal my-service\n" in output
    assert vassal.inside("stat", "--format=%a", TOKENS) == "640\n"
    assert vassal.current_release() == vassal.head_release() != before
    with vassal.under_load("roll-back"):
        vassal.shell(vassal.section("Roll back").replace(" ID", f" {before}"))
    assert vassal.current_release() == before
    process = vassal.process()
    assert vassal.install("--release", before).splitlines()[-1] == f"my-service: release {before}"
    assert vassal.process() == process


def test_release_with_invalid_vassal_file_is_rejected(vassal: Vassal) -> None:
    before = vassal.current_release()
    vassal.shell(f"sed -i s/^umask/umsk/ {FILE} && {COMMIT} wrong")
    output = vassal.install(status=1)
    assert "vassal file is invalid: [strict-mode] unknown config directive: umsk" in output
    vassal.shell(f"git revert --no-commit HEAD && {COMMIT} right")
    assert vassal.current_release() == before


@pytest.fixture
def faulty(vassal: Vassal) -> str:
    """Return the tree of failing releases; its install.sh waits less for the previous vassal."""
    if not (vassal.machine.root / failing_releases.TREE[1:]).exists():
        installer = failing_releases.put_tree(vassal, ready=5) / "deploy/install.sh"
        installer.write_text(installer.read_text().replace("SECONDS + 60", "SECONDS + 20"))
    return failing_releases.TREE


@pytest.mark.parametrize(("failure", "message", "lost"), FAILURES)
def test_failing_release_is_rolled_back(
    vassal: Vassal, faulty: str, failure: str, message: str, lost: set[str]
) -> None:
    """After the previous vassal has accepted the release, its failure loses requests."""
    before = vassal.current_release()
    failing_releases.fail(vassal, failure)
    with vassal.load(f"failing release: {failure}") as outcome:
        output = vassal.install(status=1, tree=faulty)
    assert message in output
    assert f"see journalctl -u {EMPEROR}" in output
    assert f"roll back to {before}\n" in output
    assert "the rollback failed" not in output
    assert {re.split(r"[ (]", kind)[1] for kind in outcome["failed"]} <= lost
    vassal.wait_until(lambda: len(vassal.children(vassal.vassal())) == 1, 20)
    assert (vassal.current_release(), vassal.request("GET", "/readyz")[0]) == (before, 200)


def test_failing_first_release_is_removed(vassal: Vassal, faulty: str) -> None:
    before = vassal.current_release()
    failing_releases.fail(vassal, FAILURES[1][0])
    vassal.inside("rm", "/opt/my-service/current")
    output = vassal.install(status=1, tree=faulty)
    assert "there is no previous release to roll back to" in output
    assert vassal.inside("ls", "/opt/my-service", "/etc/uwsgi/vassals") == (
        "/etc/uwsgi/vassals:\n\n/opt/my-service:\nreleases\n"
    )
    vassal.wait_until(lambda: not vassal.children(vassal.emperor()), 60)
    vassal.install("--release", before)


def test_killed_process_loses_only_requests_in_flight(vassal: Vassal) -> None:
    with vassal.under_load("`kill -9` of a worker", killed=4, pause=0.02):
        vassal.inside("kill", "-9", vassal.children(vassal.process())[0])
    with vassal.under_load("`kill -9` of the master, three times", pause=0.02):
        for _ in range(3):
            before = vassal.process()
            vassal.inside("kill", "-9", before)
            vassal.wait_until(lambda: vassal.request("GET", "/readyz")[0] == 200, 60)
            assert vassal.process() != before
            vassal.wait_until(lambda: len(vassal.processes()) == 4, 60)


def test_restarted_emperor_and_killed_vassal_lose_requests(vassal: Vassal) -> None:
    """The emperor restarts a killed vassal automatically."""
    for event, kill in (("emperor restarted", ""), ("`kill -9` of the vassal", "kill -9")):
        process = vassal.vassal()
        with vassal.load(f"**{event}**", pause=0.02) as outcome:
            vassal.shell(f"{kill} {process}" if kill else f"systemctl restart {EMPEROR}")
            vassal.wait_until(lambda: vassal.request("GET", "/readyz")[0] == 200, 60)
        assert {kind.split()[1] for kind in outcome["failed"]} <= {"502"}
        assert vassal.vassal() != process
    assert len(vassal.processes()) == 4


def test_invalid_vassal_file_is_an_outage_until_fixed(vassal: Vassal) -> None:
    file = vassal.machine.root / "opt/my-service/releases" / vassal.current_release() / FILE
    original = file.read_text()
    file.write_text(original.replace("umask", "umsk"))
    vassal.shell(vassal.emperor_section("Reload under the emperor"))
    vassal.wait_until(lambda: vassal.request("GET", "/readyz")[0] == 502, 60)
    assert "unknown config directive: umsk" in vassal.journal_tail()
    file.write_text(original)
    vassal.wait_until(lambda: vassal.request("GET", "/readyz")[0] == 200, 60)


def test_change_to_systemd_keeps_the_release(vassal: Vassal) -> None:
    """Requests are lost while systemd replaces the link by its socket."""
    release = vassal.current_release()
    with vassal.load("from the emperor to systemd") as outcome:
        vassal.shell(vassal.emperor_section("From the emperor to systemd"))
        vassal.wait_until(lambda: not vassal.children(vassal.emperor()), 60)
    assert len(outcome["failed"]) <= 4
    assert vassal.inside("stat", "--format=%a", TOKENS) == "600\n"
    assert vassal.current_release(*vassal.unit_properties("MainPID")) == release
    output = vassal.install("--release", release)
    assert output.splitlines()[-1] == f"my-service: release {release}"

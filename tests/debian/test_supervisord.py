"""The service under Debian's supervisord: installation, releases, failures and rollback."""

import os
import re
import time
from collections.abc import Iterator

import pytest

from ..support.fixtures import Generate
from ..support.logs import parse_log
from ..support.markdown import blocks
from . import failing_releases
from .host import COMMIT, DOMAIN, SERVICE, SETTINGS, TOKENS, SupervisordHost
from .machine import Booted

HOLDER = "my-service:0"
CONFIG = "/etc/supervisor/conf.d/my-service.conf"
LOG = "/var/log/my-service/my-service.log"
LOCK = "/var/lib/my-service/check.lock"
RUN = "/opt/my-service/current/deploy/supervisor/run.sh"
OWNERS = {
    "/etc/my-service/credentials": "root:my-service 2750",
    "/run/my-service": "root:root 755",
    "/run/my-service/my-service.sock": "root:www-data 660",
    "/run/my-service/tmp": "my-service:my-service 700",
    "/var/lib/my-service": "my-service:my-service 750",
    "/var/log/my-service": "root:adm 750",
}
# In its check, in its trial, and while it serves.
FAILURES = [
    ("refuse check", "this release: refuses", "its check failed"),
    ("hang trial", "its trial start failed", ""),
    ("crash trial", "its trial start failed; see /var/log/my-service/trial.log\n", ""),
    ("deaf serve tmp", f"did not become ready; see {LOG}\n", "roll back to"),
    ("crash tmp gunicorn.arbiter", f"did not stay ready; see {LOG}\n", "roll back to"),
]


@pytest.fixture(scope="module", params=["gunicorn", "waitress", "uwsgi"])
def host(
    request: pytest.FixtureRequest, generated: Generate, booted: Booted
) -> Iterator[SupervisordHost]:
    """Return a booted machine with the project, not installed: the first tests install it."""
    project = generated(wsgi_server=request.param, supervisor="supervisord")
    with booted("trixie", "supervisor") as (machine, directory):
        host = SupervisordHost(machine, project, directory, f"{request.param}, supervisord")
        host.inside("systemctl", "start", "supervisor")
        if request.param == "gunicorn":  # its many tests would wait for minutes
            sooner = "sed -i 's/^startsecs=10$/startsecs=3/; s/^stopwaitsecs=60$/stopwaitsecs=20/'"
            host.shell(f"{sooner} deploy/supervisor/my-service.conf && {COMMIT} sooner")
        failing_releases.put_tree(host, ready=8)
        yield host
        print(host.availability_table())


@pytest.fixture
def installed(host: SupervisordHost) -> SupervisordHost:
    """Return the machine with the service installed."""
    if "my-service" not in host.inside("ls", "/etc/nginx/sites-enabled"):
        host.install("--self-signed")
    return host


only_gunicorn = pytest.mark.parametrize("host", ["gunicorn"], indirect=True)


@only_gunicorn
def test_failing_first_release_is_removed(host: SupervisordHost) -> None:
    host.inside("mkdir", "/etc/my-service")
    failing_releases.fail(host, "deaf serve tmp")
    output = host.install(status=1, tree=failing_releases.TREE)
    assert "did not become ready" in output
    assert "there is no previous release to roll back to" in output
    assert host.states() == {}
    assert host.inside("ls", "/etc/supervisor/conf.d", "/opt/my-service") == (
        "/etc/supervisor/conf.d:\n\n/opt/my-service:\nreleases\n"
    )
    failing_releases.fail(host, "none")
    host.install("--self-signed", tree=failing_releases.TREE)
    assert host.current_release() in host.inside("ls", "/opt/my-service/releases").split()


def test_release_and_rollback_lose_no_request(installed: SupervisordHost) -> None:
    before = installed.current_release()
    installed.shell("touch new && git add new")
    installed.shell(f"{COMMIT} second")
    with installed.under_load("release"):
        output = installed.shell(installed.section())
    assert "Killed" not in output  # the shell's message about the trial
    assert installed.current_release() == installed.head_release() != before
    with installed.under_load("roll-back, as the README says"):
        installed.shell(installed.section("Roll back").replace(" ID", f" {before}"))
    assert installed.current_release() == before
    assert installed.install("--release", before).splitlines()[-1:] == [
        f"my-service: release {before}"
    ]


def test_installed_files_and_processes_are_right(installed: SupervisordHost) -> None:
    for path in ("/livez", "/readyz", "/", "/static/app.css"):
        assert installed.request("GET", path)[0] == 200
    assert installed.machine.http_version(DOMAIN, installed.certificate) == "2"
    process = f"/proc/{installed.process()}"
    assert installed.inside("cat", "/run/supervisord.pid").strip() == re.findall(
        r"^PPid:\t(\d+)$", installed.inside("cat", f"{process}/status"), re.MULTILINE
    )[0]  # fmt: skip
    for line in ("NoNewPrivs:\t1", "Umask:\t0027"):
        assert line in installed.inside("cat", f"{process}/status")
    links = installed.inside("readlink", f"{process}/cwd", f"{process}/fd/0").splitlines()
    assert links == [f"/opt/my-service/releases/{installed.current_release()}", "/dev/null"]
    running = {HOLDER: "RUNNING", SERVICE: "RUNNING"}
    installed.wait_until(lambda: installed.states() == running, 20)
    groups = installed.inside("ps", "-u", "my-service", "-o", "pgid=").split()
    assert set(groups) == {installed.process(), installed.process(HOLDER)}
    user = installed.inside("getent", "passwd", "my-service").strip()
    assert user.endswith(":/var/lib/my-service:/usr/sbin/nologin")
    assert " 2048 " in installed.shell("ss -xl src /run/my-service/my-service.sock")
    assert re.search(
        r"^Max open files +8192 +8192 ", installed.inside("cat", f"{process}/limits"), re.MULTILINE
    )
    for path, owner in OWNERS.items():
        assert installed.inside("stat", "--format=%U:%G %a", path) == f"{owner}\n"
    secret = installed.inside("cat", TOKENS).strip().partition(":")[2]
    assert secret not in installed.inside("cat", f"{process}/environ")
    nobody = "runuser -u nobody -- cat"
    for file in (TOKENS, LOG):
        assert "Permission denied" in installed.shell(f"{nobody} {file}", status=1)
    mine = ["find", "/opt", "/etc", "/run", "/var/log", "-xdev", "-user", "my-service"]
    assert installed.inside(*mine).splitlines()[:1] == ["/run/my-service/tmp"]
    lines = parse_log(installed.inside("cat", LOG).splitlines())
    assert not {line["log.level"] for line in lines} & {"critical"}


def test_second_run_changes_nothing(installed: SupervisordHost) -> None:
    before, process, release = (
        installed.file_listing(),
        installed.process(),
        installed.current_release(),
    )
    output = installed.install("--release", release)
    assert installed.file_listing() == before
    assert installed.process() == process
    assert len(output.splitlines()) == 2


def test_restarts_lose_no_request(installed: SupervisordHost) -> None:
    commands = installed.section("Restart and reload")
    assert f"supervisorctl restart {SERVICE}" in commands
    with installed.under_load("restart, twice", least=500, pause=0):
        installed.shell(commands * 2)
    if installed.workers():
        before = installed.workers()
        with installed.under_load("reload (HUP)"):
            installed.inside("supervisorctl", "signal", "HUP", SERVICE)
            installed.wait_until(lambda: not installed.workers() & before, 30)


def test_open_event_stream_delays_no_restart(installed: SupervisordHost) -> None:
    installed.check_restart_with_open_stream(f"supervisorctl restart {SERVICE}")


@only_gunicorn
@pytest.mark.parametrize(
    "event",
    [
        "supervisorctl restart my-service:*",
        f"sed -i.right s/_backups=9/_backups=8/ {CONFIG} && supervisorctl update",
        f"mv {CONFIG}.right {CONFIG} && systemctl restart supervisor",
    ],
)
def test_event_that_closes_the_socket_loses_requests(
    installed: SupervisordHost, event: str
) -> None:
    """Control of the load generator; a changed file and a restarted supervisord, too."""
    with installed.load(f"**{event.partition(' && ')[2] or event}**", pause=0.02) as outcome:
        installed.shell(event)
        installed.wait_until(lambda: installed.request("GET", "/readyz")[0] == 200, 60)
    assert outcome["failed"]
    assert set(outcome["failed"]) <= {f"{method} 502" for method in ("GET", "POST")}


def test_exited_service_is_restarted(installed: SupervisordHost) -> None:
    process = installed.process()
    installed.inside("kill", "-TERM", process)
    installed.wait_until(lambda: installed.process() not in (process, "0"), 60)
    assert installed.request("GET", "/readyz")[0] == 200


@only_gunicorn
def test_hanging_service_can_be_stopped(installed: SupervisordHost) -> None:
    hung = {installed.process(), *installed.workers()}
    installed.inside("kill", "-STOP", *hung)
    installed.inside("supervisorctl", "stop", SERVICE)
    assert not hung & set(installed.inside("ps", "-eo", "pid=").split())
    installed.inside("supervisorctl", "start", SERVICE)
    assert installed.request("GET", "/readyz")[0] == 200


def test_killed_process_loses_only_requests_in_flight(installed: SupervisordHost) -> None:
    for name, process in (("the service", SERVICE), ("the holder", HOLDER)):
        # Workers finish their requests after the master is killed.
        killed = 8 if process == SERVICE and not installed.workers() else 0
        with installed.under_load(f"kill -9 of {name}", killed=killed, pause=0.02):
            installed.shell(f"kill -9 $(supervisorctl pid {process})")
            time.sleep(2)
    assert len(installed.inside("ls", "/run/my-service/tmp").split()) <= 1


@only_gunicorn
@pytest.mark.parametrize(("failure", "message", "end"), FAILURES)
def test_failing_release_is_rejected_or_rolled_back(
    installed: SupervisordHost, failure: str, message: str, end: str
) -> None:
    installed.install()
    before = installed.current_release()
    failing_releases.fail(installed, failure)
    killed = 16 if failure.startswith("crash tmp") else 0
    with installed.under_load(f"failing release: {failure}", killed=killed, retries_fail=True):
        output = installed.install(status=1, tree=failing_releases.TREE)
    assert message in output
    assert end in output
    assert installed.current_release() == before
    assert installed.request("GET", "/readyz")[0] == 200
    assert "trial" not in installed.inside("ls", "/run/my-service")


@only_gunicorn
def test_files_rejected_by_supervisord_are_restored(installed: SupervisordHost) -> None:
    before, config = installed.current_release(), installed.inside("cat", CONFIG)
    failing_releases.fail(installed, "none")
    installed.inside("cp", "-a", failing_releases.TREE, "/srv/broken")
    broken = "sed -i s/^numprocs=2/numprocs=two/ deploy/supervisor/my-service.conf"
    installed.shell(broken, cwd="/srv/broken")
    output = installed.install(status=1, tree="/srv/broken")
    assert "supervisord rejects its files: ERROR: " in output
    assert (installed.current_release(), installed.request("GET", "/readyz")[0]) == (before, 200)
    assert installed.inside("cat", CONFIG) == config


@only_gunicorn
def test_invalid_settings_end_in_state_fatal(installed: SupervisordHost) -> None:
    settings = installed.machine.root / SETTINGS
    original = settings.read_text()
    settings.write_text(f"{original}WEB_TREADS=4\n")
    output = installed.shell(f"runuser -u my-service -- {RUN} check", status=2)
    assert "did you mean WEB_THREADS?" in output
    assert installed.request("GET", "/readyz")[0] == 200
    installed.inside("supervisorctl", "restart", SERVICE, status=7)
    installed.wait_until(lambda: installed.states()[SERVICE] == "FATAL", 60)
    assert output.splitlines()[-1] == installed.inside("tail", "-1", LOG).strip("\n")
    settings.write_text(original)
    installed.inside("supervisorctl", "start", SERVICE)
    assert installed.request("GET", "/readyz")[0] == 200


@only_gunicorn
def test_modified_file_is_not_overwritten(installed: SupervisordHost) -> None:
    config = installed.machine.root / CONFIG[1:]
    original = config.read_text()
    config.write_text(f"{original}; by hand\n")
    assert f"{CONFIG} was not installed by this script, or was modified" in installed.install(
        status=1
    )
    assert config.read_text() == f"{original}; by hand\n"
    config.write_text(original)


@only_gunicorn
def test_inline_runbook_commands_succeed(installed: SupervisordHost) -> None:
    commands = installed.runbook_commands()
    assert len(commands) > 5
    for command in commands:
        if " start " in command:
            installed.inside("supervisorctl", "stop", SERVICE)
        installed.shell(command)
        installed.wait_until(lambda: installed.request("GET", "/readyz")[0] == 200, 20)


@only_gunicorn
def test_readme_paths_exist_and_runbook_blocks_succeed(installed: SupervisordHost) -> None:
    installed.check_backup_and_restore()
    paths = set(re.findall(r"`(/(?:etc|opt|run|var)/[^` ]*)`", installed.readme))
    for path in {path.replace("/ID", "") for path in paths}:
        if "NAME" not in path:
            assert os.path.lexists(installed.machine.root / path[1:]), path
    assert installed.request("GET", "/nothing")[0] == 404
    installed.fetch("py-spy")
    output = installed.shell("".join(blocks(installed.source, "docs/runbook.md")))
    assert "root:www-data 660" in output
    assert "process_resident_memory_bytes" in output


@only_gunicorn
def test_line_of_cron_runs_a_command_once_at_a_time(installed: SupervisordHost) -> None:
    """With `check` in the place of an owner's command; a shell runs the line as cron does."""
    (line,) = [
        block
        for block in blocks(installed.source, "docs/how-to/commands.md", language="text")
        if "flock" in block
    ]
    fields = line.replace("remove-old-notes", "check").split(maxsplit=6)
    assert (fields[:5], fields[5]) == (["15", "3", "*", "*", "*"], "my-service")
    command = ["runuser", "-u", fields[5], "--", "sh", "-c", fields[6]]
    journal = ["journalctl", "--identifier=my-service", "--output=cat"]
    installed.inside(*command)
    installed.inside("journalctl", "--sync")
    assert installed.inside(*journal).count("my-service could start: production") == 1
    installed.shell(
        f"flock {LOCK} sleep 5 & sleep 1; runuser -u my-service -- sh -c '{fields[6]}'; wait"
    )
    installed.inside("journalctl", "--sync")
    assert installed.inside(*journal).count("my-service could start: production") == 1
    installed.inside("rm", LOCK)

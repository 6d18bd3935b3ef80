"""Commands, timers and services of an owner: schedule, sandbox, failures, releases, removal."""

import json
import re

import pytest

from .host import COMMIT, PROGRAMS, UNIT, Host
from .selection import once

TIMER = """\
[Unit]
Description=Tick every two seconds

[Timer]
OnCalendar=*:*:0/2
AccuracySec=100ms
Unit=my-service@tick.service

[Install]
WantedBy=timers.target
"""
# A service of the owner's, as in docs/how-to/task-queue.md. It completes its work at a stop.
WORKER = """\
[Service]
User=my-service
WorkingDirectory=/opt/my-service/current
ExecStart=/bin/sh -c 'trap "sleep 1; echo drained; exit" TERM; echo "in $(pwd -P)"; while :; do sleep 0.1; done'

[Install]
WantedBy=multi-user.target
"""
WORKER_NAME = "my-service-worker.service"
NAME = "my-service-tick.timer"
INSTANCE = "my-service@tick.service"


@pytest.fixture
def ticking(installed: Host) -> Host:
    """Return a host with a release whose command `tick` runs every two seconds."""
    commands = installed.project / "src/my_service/commands.py"
    if "def tick" in commands.read_text():
        return installed
    seconds(installed, 0)
    commands.write_text(commands.read_text() + (PROGRAMS / "ticking.py").read_text())
    (installed.project / "deploy/systemd" / NAME).write_text(TIMER)
    (installed.project / "deploy/systemd" / WORKER_NAME).write_text(WORKER)
    installed.shell(f"{COMMIT} 'Tick every two seconds'")
    installed.install()
    return installed


def seconds(host: Host, count: float) -> None:
    """Set how long a run takes."""
    (host.machine.root / "etc/my-service/tick-seconds").write_text(str(count))


def entries(host: Host, message: str = "tick") -> list[dict[str, object]]:
    """Return the log entries of the command."""
    host.inside("journalctl", "--sync")
    read = ["journalctl", f"--unit={INSTANCE}", "--output=cat", "--no-pager"]
    lines = [line for line in host.inside(*read).splitlines() if line.startswith("{")]
    return [entry for entry in map(json.loads, lines) if entry["message"].startswith(message)]


@once
def test_timer_runs_its_command_in_the_sandbox_of_the_service(ticking: Host) -> None:
    ticking.wait_until(lambda: len(entries(ticking, "tick finished")) >= 3, 20)
    first, *_ = entries(ticking, "tick began")
    user = int(ticking.inside("id", "-u", "my-service"))
    release = f"/opt/my-service/releases/{ticking.current_release()}"
    assert (first["user"], first["secrets"], first["cwd"]) == (user, 1, release)
    assert first["process.name"] == "tick"
    assert ticking.exposure(INSTANCE) <= ticking.exposure(UNIT) + 0.1
    assert ticking.titles("tick in %")


@once
def test_command_never_runs_twice_at_once(ticking: Host) -> None:
    seconds(ticking, 3)
    try:
        before = len(entries(ticking))
        ticking.wait_until(lambda: len(entries(ticking)) >= before + 7, 40)
    finally:
        seconds(ticking, 0)
    runs = [entry["process.entity_id"] for entry in entries(ticking)]
    # The two entries of each run follow each other.
    assert all(first == last for first, last in zip(runs[::2], runs[1::2], strict=False))


@once
def test_failed_command_is_in_the_journal_and_rolled_back(ticking: Host) -> None:
    failure = ticking.machine.root / "etc/my-service/tick-fails"
    failure.touch()
    try:
        ticking.wait_until(lambda: entries(ticking, "tick failed"), 20)
        state = "systemctl is-failed my-service@tick.service"
        ticking.wait_until(lambda: "failed" in ticking.shell(f"{state} || true"), 10)
    finally:
        failure.unlink()
    failed = entries(ticking, "tick failed")[-1]
    assert failed["error.message"] == "the partner does not respond"
    process = failed["process.pid"]
    assert f"tick in {process}" not in ticking.titles("tick in %")
    finished = len(entries(ticking, "tick finished"))
    ticking.wait_until(lambda: len(entries(ticking, "tick finished")) > finished, 20)


@once
def test_release_does_not_end_a_running_command(ticking: Host) -> None:
    old = ticking.current_release()
    seconds(ticking, 12)
    began = len(entries(ticking, "tick began"))
    ticking.wait_until(lambda: len(entries(ticking, "tick began")) > began, 20)
    running = entries(ticking, "tick began")[-1]
    seconds(ticking, 0)
    ticking.shell(f"touch newer && {COMMIT} 'Newer'")
    ticking.install()
    assert ticking.current_release() != old
    assert str(running["cwd"]).endswith(old)

    def has_finished() -> bool:
        ends = [entry for entry in entries(ticking, "tick f") if is_run(entry, running)]
        return [entry["message"] for entry in ends] == ["tick finished"]

    ticking.wait_until(has_finished, 30)


def worker_lines(host: Host) -> list[str]:
    host.inside("journalctl", "--sync")
    read = ["journalctl", f"--unit={WORKER_NAME}", "--output=cat", "--no-pager", "--identifier=sh"]
    return host.inside(*read).splitlines()


@once
def test_service_of_the_owner_is_drained_and_runs_the_new_release(ticking: Host) -> None:
    old = ticking.current_release()
    ticking.wait_until(
        lambda: worker_lines(ticking)[-1:] == [f"in /opt/my-service/releases/{old}"], 10
    )
    ticking.shell(f"touch newer-worker && {COMMIT} 'Newest'")
    output = ticking.install("--outbound")
    new = ticking.current_release()
    assert output.index(f"restart {WORKER_NAME}") < output.index("restart my-service.service")
    ticking.wait_until(
        lambda: worker_lines(ticking)[-2:] == ["drained", f"in /opt/my-service/releases/{new}"], 10
    )
    assert ticking.inside("systemctl", "is-enabled", WORKER_NAME).strip() == "enabled"
    show = ["systemctl", "show", "--property=PrivateNetwork,DropInPaths", WORKER_NAME]
    assert f"{WORKER_NAME}.d/outbound.conf" in ticking.inside(*show)
    ticking.install("--no-outbound")
    assert f"{WORKER_NAME}.d/outbound.conf" not in ticking.inside(*show)
    process = ["systemctl", "show", "--property=MainPID", WORKER_NAME]
    before = ticking.inside(*process)
    ticking.install()  # nothing has changed
    assert ticking.inside(*process) == before


def is_run(entry: dict[str, object], other: dict[str, object]) -> bool:
    return entry["process.entity_id"] == other["process.entity_id"]


@once
def test_changed_schedule_applies_with_the_release(ticking: Host) -> None:
    timer = ticking.project / "deploy/systemd" / NAME
    timer.write_text(TIMER.replace("*:*:0/2", "*-*-* 03:00:00"))
    ticking.shell(f"{COMMIT} 'At night'")
    ticking.install()
    listed = ticking.inside("systemctl", "list-timers", "--all", "--no-pager", NAME)
    assert " 03:00:00 " in listed


@once
def test_timer_of_an_unknown_command_rejects_the_release(ticking: Host) -> None:
    before = ticking.current_release()
    timer = ticking.project / "deploy/systemd" / NAME
    timer.write_text(TIMER.replace("@tick", "@tock"))
    ticking.shell(f"{COMMIT} 'Tock'")
    output = ticking.install(status=1)
    assert "invalid choice: 'tock'" in output
    assert "the release is rejected because its units are invalid" in output
    assert ticking.current_release() == before
    ticking.shell(f"git rm -q deploy/systemd/{{{NAME},{WORKER_NAME}}} && {COMMIT} 'No units'")


@once
def test_release_without_the_units_removes_them_and_rollback_restores_them(ticking: Host) -> None:
    before = ticking.current_release()
    ticking.install()
    units = [ticking.machine.root / "etc/systemd/system" / name for name in (NAME, WORKER_NAME)]
    assert not any(unit.exists() for unit in units)
    assert NAME not in ticking.inside("systemctl", "list-timers", "--all", "--no-pager")
    assert worker_lines(ticking)[-1] == "drained"
    assert "Failed" not in ticking.shell(f"systemctl is-enabled {NAME} 2>&1 || true")
    ticking.install("--release", before)
    for unit in units:
        assert ticking.inside("systemctl", "is-enabled", unit.name).strip() == "enabled"
    ticking.wait_until(
        lambda: worker_lines(ticking)[-1] == f"in /opt/my-service/releases/{before}", 10
    )
    ticking.install("--release", ticking.head_release())
    assert not any(unit.exists() for unit in units)


@once
def test_command_runs_by_hand(ticking: Host) -> None:
    finished = len(entries(ticking, "tick finished"))
    ticking.inside("systemctl", "start", INSTANCE)
    assert len(entries(ticking, "tick finished")) == finished + 1


@once
def test_shell_has_the_settings_and_secrets_of_the_service(ticking: Host) -> None:
    page = (ticking.project / "docs/how-to/commands.md").read_text()
    (command,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    command = command.replace("sudo ", "").replace("--pty", "--pipe")
    program = "print(settings.app_env, len(settings.api_tokens.clients), session.in_transaction())"
    assert ticking.shell(
        f"echo '{program}' >program.py; ({command}) <program.py; rm program.py"
    ).endswith("production 1 False\n")

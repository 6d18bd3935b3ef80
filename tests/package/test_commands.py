"""Commands of a service's own: arguments, transaction, exit status and log entries."""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
from bottle import Bottle
from msgspec import Meta

from bottle_service.application import build_application
from bottle_service.cli import main
from bottle_service.commands import Call, command
from bottle_service.http import Form, Problem, RequestScoped
from bottle_service.service import Service

from .sample.app import DIRECTORY, NAME, SERVICE

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def settings(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The process environment of the commands, to be changed."""
    monkeypatch.setattr(os, "environ", environ)
    return environ


class Transactions:
    """A dependency that records how its transactions end."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    @contextmanager
    def open(self, method: str) -> Iterator[str]:
        try:
            yield method
        except BaseException:
            self.ended.append("rolled back")
            raise
        self.ended.append("committed")

    def close(self) -> None:
        self.ended.append("closed")


class HasEveryAttribute:
    def __getattr__(self, name: str) -> str:
        return name


def service_with(
    *functions: Callable[..., object], transactions: Transactions | None = None
) -> Service:
    """Return the sample service with these commands, and the dependencies `session` and `clock`."""
    module = ModuleType("commands")
    for function in functions:
        setattr(module, function.__name__, function)
    scoped = transactions or Transactions()
    dependencies = {
        "session": RequestScoped(scoped.open, scoped.close),
        "clock": lambda: date(2026, 11, 30),
    }

    def create(settings: Any) -> Bottle:
        return build_application(
            NAME, DIRECTORY, settings, lambda app: None, variables={}, dependencies=dependencies
        )

    return replace(SERVICE, create_app=create, commands=module)


def test_command_gets_dependencies_and_is_committed(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def list_overdue(session: str, clock: Callable[[], date]) -> None:
        """Print overdue loans."""
        print(session, clock())

    transactions = Transactions()
    main(service_with(list_overdue, transactions=transactions), ["list-overdue"])
    assert capsys.readouterr().out == "POST 2026-11-30\n"
    assert transactions.ended == ["committed", "closed"]


def test_failed_command_is_rolled_back_and_logged(
    settings: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    @command
    def fail(session: str) -> None:
        raise Problem(503, "The database is busy.")

    settings["LOG_FORMAT"] = "json"
    transactions = Transactions()
    with pytest.raises(SystemExit, match=r"^1$"):
        main(service_with(fail, transactions=transactions), ["fail"])
    assert transactions.ended == ["rolled back", "closed"]
    (entry,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert entry["message"] == "fail failed"
    assert entry["error.type"] == "Problem"


def test_call_runs_each_function_in_its_own_transaction(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work(session: str, clock: Callable[[], date], *, number: int) -> None:
        print(session, clock(), 6 // number)

    @command
    def work_twice(call: Call) -> None:
        """Work twice, and skip what fails."""
        for number in (0, 3):
            with suppress(ZeroDivisionError):
                call(work, number=number)

    transactions = Transactions()
    main(service_with(work_twice, transactions=transactions), ["work-twice"])
    assert capsys.readouterr().out == "POST 2026-11-30 2\n"
    assert transactions.ended == ["rolled back", "committed", "closed"]


def test_log_entries_of_a_run_have_its_name_and_id(
    settings: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    @command
    def log_twice() -> None:
        logging.getLogger("other.library").warning("hello")

    settings["LOG_FORMAT"] = "json"
    for _ in range(2):
        main(service_with(log_twice), ["log-twice"])
    entries = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [entry["message"] for entry in entries] == ["hello", "log-twice finished"] * 2
    assert {entry["process.name"] for entry in entries} == {"log-twice"}
    first, same, second, _ = (entry["process.entity_id"] for entry in entries)
    assert first == same != second
    assert entries[1]["event.duration"] > 0


@command
def seed(
    *,
    count: Annotated[int, Meta(ge=1, description="number of notes, 100 % of them new")] = 10,
    since: date,
    dry_run: Annotated[bool, Meta(description="print only")] = False,
    ratio: float = 1.0,
    at: datetime | None = None,
    ids: Annotated[list[int], Meta(min_length=2)] = [],  # noqa: B006
) -> None:
    """Write sample data."""
    print(count, since, dry_run)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--since", "2026-01-01"], "10 2026-01-01 False\n"),
        (["--since=2026-01-01", "--count", "3", "--dry-run"], "3 2026-01-01 True\n"),
    ],
)
def test_keyword_only_parameters_are_options(
    capsys: pytest.CaptureFixture[str], arguments: list[str], printed: str
) -> None:
    main(service_with(seed), ["seed", *arguments])
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --since"),
        (["--since", "today"], "argument --since: Invalid RFC3339 encoded date"),
        (["--since=2026-01-01", "--count=0"], "argument --count: Expected `int` >= 1"),
        # The limits of a query.
        (["--since=2026-01-01", f"--count={2**63}"], "argument --count: The number must fit"),
        (["--since=2026-01-01", "--ratio=nan"], "argument --ratio: The number must be finite."),
        (
            ["--since=2026-01-01", "--at=2026-01-01T00:00:00"],
            "--at: The time must have a time zone",
        ),
        (["--since=2026-01-01", "--ids=1", "--ids=a"], "argument --ids: Expected `int`, got `str`"),
        (["--since=2026-01-01", "--ids=1"], "argument --ids: Expected `array` of length >= 2"),
    ],
)
def test_invalid_option_is_reported(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(service_with(seed), ["seed", *arguments])
    assert message in capsys.readouterr().err


def test_option_is_repeated_for_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def show(*, names: list[str], ids: set[int] | None = None, extra: tuple[str, ...] = ()) -> None:
        print(names, ids, extra)

    service = service_with(show)
    main(service, ["show", "--names=a", "--ids=1", "--names", "b", "--ids=1", "--ids=2"])
    main(service, ["show", "--names=a", "--extra=b"])
    assert capsys.readouterr().out == "['a', 'b'] {1, 2} ()\n['a'] None ('b',)\n"


def test_option_can_have_the_name_of_an_attribute_of_the_parser(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @command
    def show(*, run: int, function: str = "f", command: str = "c", parser: str = "p") -> None:
        print(run, function, command, parser)

    main(service_with(show), ["show", "--run=1", "--command", "x"])
    assert capsys.readouterr().out == "1 f x p\n"


def test_option_that_cannot_be_one_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def ask(*, help: str = "") -> None:  # noqa: A002
        """Ask."""

    def load(*, given: Any) -> None:
        """Load."""

    unfit = {dict[str, int]: "dict", list[list[int]]: "list", Path: ".*Path", Form: ".*Form"}
    with pytest.raises(SystemExit, match=r"^2$"):
        main(service_with(ask), ["check"])
    expected = "command ask: the option --help prints the help of every command; rename"
    assert expected in capsys.readouterr().err
    for kind, name in unfit.items():
        load.__annotations__["given"] = kind
        with pytest.raises(SystemExit, match=r"^2$"):
            main(service_with(command(load)), ["check"])
        expected = rf"command load: the option 'given' cannot be of the type {name}"
        assert re.search(expected, capsys.readouterr().err)


def test_help_lists_commands_with_their_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(service_with(seed), ["--help"])
    assert re.search("seed +Write sample data.", capsys.readouterr().out)


def test_help_of_a_command_describes_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(service_with(seed), ["seed", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Write sample data." in printed
    assert "--count COUNT number of notes, 100 % of them new; default: 10" in printed
    assert "--since SINCE required" in printed
    assert "--dry-run print only" in printed


def test_other_names_of_the_module_are_no_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """`sqlalchemy.func`, for example, has every attribute."""
    service = service_with(seed)
    assert service.commands
    vars(service.commands).update(func=HasEveryAttribute(), LIMIT=10)
    with pytest.raises(SystemExit, match=r"^0$"):
        main(service, ["--help"])
    printed = capsys.readouterr().out
    assert "seed" in printed
    assert "func" not in printed


def test_name_of_another_command_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def check() -> None:
        """Check."""

    with pytest.raises(SystemExit, match=r"^2$"):
        main(service_with(check), ["serve"])
    assert "command check: is a command of every service; rename" in capsys.readouterr().err


def test_unknown_parameter_is_a_problem_of_check(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def repair(sesion: str) -> None:
        """Repair."""

    with pytest.raises(SystemExit, match=r"^2$"):
        main(service_with(repair), ["check"])
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  command repair: unknown parameter 'sesion'; available: settings, openapi, overview, views, "
        "assets, metrics, session, clock, call; write options of the command line after `*`"
    ]


def test_commands_need_valid_settings(
    settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    settings["LOG_LEVEL"] = "LOUD"
    with pytest.raises(SystemExit, match=r"^2$"):
        main(service_with(seed), ["seed", "--since=2026-01-01"])
    assert "LOG_LEVEL" in capsys.readouterr().err

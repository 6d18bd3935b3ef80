"""The commands `check`, `serve` and `routes`: what they print, and how they exit."""

import pytest

from bottle_service.cli import main

from .service import ECHO, SERVICE


@pytest.mark.usefixtures("process_environ")
def test_check_of_valid_settings_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    main(SERVICE, ["check"])
    assert capsys.readouterr().out.startswith(f"{SERVICE.name} could start: test, ")


@pytest.mark.parametrize("command", ["check", "serve"])
def test_invalid_settings_are_all_reported_with_exit_status_2(
    process_environ: dict[str, str], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    process_environ.update(API_TOKENS="tester", BIND="localhost", LOG_LEVEL="LOUD")
    with pytest.raises(SystemExit, match=r"^2$"):
        main(SERVICE, [command])
    first, *problems = capsys.readouterr().err.splitlines()
    assert first == f"{SERVICE.name} cannot start:"
    assert [problem.split()[0].strip(":") for problem in problems] == [
        "BIND",
        "LOG_LEVEL",
        "API_TOKENS",
    ]


def test_invalid_secret_is_not_printed(
    process_environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    process_environ["API_TOKENS"] = "tester hunter2"
    with pytest.raises(SystemExit, match=r"^2$"):
        main(SERVICE, ["check"])
    printed = capsys.readouterr().err
    assert "API_TOKENS (environment): entry 1 is not name:token" in printed
    assert "hunter2" not in printed


@pytest.mark.usefixtures("process_environ")
def test_routes_are_listed_with_method_path_and_access(capsys: pytest.CaptureFixture[str]) -> None:
    main(SERVICE, ["routes"])
    lines = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]
    assert ["GET", "/livez", "public"] in lines
    assert ["GET", "/metrics", "admin"] in lines
    assert ["POST", ECHO, "token"] in lines

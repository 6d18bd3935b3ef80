"""The settings reader: every source, and every problem at once."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from bottle_service.config import AppEnv, SettingsReader, parse_settings
from bottle_service.secret import Secret
from bottle_service.startup import StartupProblem

pytestmark = pytest.mark.usefixtures("empty_directory")


class Token(Secret):
    @classmethod
    def parse(cls, text: str) -> "Token":
        if text == "invalid":
            raise ValueError("is not a token")
        return cls(text)


class Settings(Struct, frozen=True, kw_only=True):
    app_env: AppEnv = "production"
    level: int = 1
    colour: str = "red"
    token: Token = Token("")


@pytest.fixture
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def reader_of(environ: dict[str, str]) -> SettingsReader:
    return SettingsReader(
        environ,
        names={"LEVEL", "COLOUR", "TOKEN"},
        secrets={"TOKEN"},
        defaults={"development": {"COLOUR": "green"}},
        renamed={"TINT": "COLOUR"},
    )


def parse(**environ: str) -> Settings:
    reader = reader_of(environ)
    settings, problems = parse_settings(Settings, reader, app_env=reader.app_env)
    assert problems == []
    return settings


def problems_of(**environ: str) -> list[str]:
    reader = reader_of(environ)
    return [str(problem) for problem in parse_settings(Settings, reader)[1]]


def test_production_is_the_default_and_reads_no_dotenv_file() -> None:
    Path(".env").write_text("nonsense")
    settings = parse()
    assert (settings.app_env, settings.level, settings.colour) == ("production", 1, "red")


def test_production_reads_only_the_file_that_env_file_names() -> None:
    Path(".env").write_text("nonsense")
    Path("service.env").write_text("LEVEL=7\n")
    assert parse(ENV_FILE="service.env").level == 7


def test_later_file_and_environment_override() -> None:
    Path(".env").write_text("LEVEL=2\nCOLOUR=blue\n")
    Path(".env.development").write_text("export LEVEL='3' # three\nCOLOUR=black\n")
    Path(".env.test").write_text("LEVEL=nonsense\n")
    settings = parse(APP_ENV="development", COLOUR="white")
    assert (settings.level, settings.colour) == (3, "white")


def test_default_of_the_environment_is_used() -> None:
    assert parse(APP_ENV="development").colour == "green"
    assert parse(APP_ENV="test").colour == "red"


def test_empty_value_counts_as_not_set() -> None:
    """An empty value hides no value of another source, and is not a second value."""
    Path(".env").write_text("LEVEL=\nLEVEL=2\n")
    Path(".env.test").write_text("LEVEL=\n")
    assert parse(APP_ENV="test", LEVEL="", TOKEN="").level == 2


def test_value_is_not_interpolated() -> None:
    Path(".env").write_text("LEVEL=8\nCOLOUR=${LEVEL}\n")
    assert parse(APP_ENV="test").colour == "${LEVEL}"


@pytest.mark.parametrize(
    "environ",
    [
        {"TOKEN": "secret"},
        {"TOKEN_FILE": "TOKEN"},
        {"CREDENTIALS_DIRECTORY": "."},
        {"TOKEN": "", "CREDENTIALS_DIRECTORY": "."},
    ],
)
def test_secret_is_read_from_each_source(environ: dict[str, str]) -> None:
    Path("TOKEN").write_text("secret\n")
    assert parse(**environ).token.reveal() == "secret"


def test_empty_secret_file_counts_as_not_set() -> None:
    Path("TOKEN").write_text("\n")
    assert parse(TOKEN="secret", CREDENTIALS_DIRECTORY=".").token.reveal() == "secret"


def test_two_sources_of_a_secret_are_a_problem() -> None:
    Path("TOKEN").write_text("secret\n")
    assert problems_of(TOKEN="secret", TOKEN_FILE="TOKEN") == [
        "TOKEN (environment and TOKEN_FILE=TOKEN): is set more than once; keep one source"
    ]


def test_secret_file_that_is_missing_is_a_problem() -> None:
    (problem,) = problems_of(TOKEN_FILE="none")
    assert problem.startswith("TOKEN_FILE (environment): cannot read none: No such file")


def test_file_that_cannot_be_read_is_a_problem() -> None:
    """A link to itself has the effect of a missing permission: root may read every file."""
    for name in ("TOKEN", ".env"):
        Path(name).symlink_to(name)
    (problem,) = problems_of(CREDENTIALS_DIRECTORY=".")
    assert problem.startswith("TOKEN (credential): cannot read TOKEN: Too many")
    (problem,) = problems_of(APP_ENV="test")
    assert problem.startswith(".env: cannot read .env: Too many")


def test_file_that_is_not_utf8_is_a_problem() -> None:
    Path("service.env").write_bytes(b"COLOUR=\xff\n")
    assert problems_of(ENV_FILE="service.env") == [
        "ENV_FILE (service.env): service.env is not UTF-8 text"
    ]


def test_missing_env_file_is_a_problem() -> None:
    (problem,) = problems_of(ENV_FILE="none.env")
    assert problem.startswith("ENV_FILE (none.env): cannot read none.env: No such file")


def test_invalid_app_env_is_a_problem() -> None:
    assert problems_of(APP_ENV="staging") == [
        "APP_ENV (environment): 'staging' is not one of development, test, production"
    ]


def test_every_problem_is_reported_at_once_with_file_and_line() -> None:
    Path("service.env").write_text(
        "\n# a comment\nLEVLE=3\n\nCOLOUR=blue\nCOLOUR=blue\nthis is a secret\nENV_FILE=x\n"
        "TOKEN=invalid\nLEVEL=many\n"
    )
    assert problems_of(ENV_FILE="service.env") == [
        "LEVLE (service.env line 3): is not a setting of this service; did you mean LEVEL?",
        "COLOUR (service.env line 6): is set twice; first at service.env line 5",
        "service.env line 7: is not of the form NAME=value",
        "ENV_FILE (service.env line 8): is read from the process environment only",
        "LEVEL (service.env line 10): 'many' is invalid: expected int",
        "TOKEN (service.env line 9): is not a token",
    ]


# Former names


@pytest.mark.parametrize("source", ["environment", "service.env line 1"])
def test_former_name_is_accepted_with_a_warning(source: str) -> None:
    Path("service.env").write_text("TINT=blue\n" if source != "environment" else "")
    environ = {"TINT": "blue"} if source == "environment" else {}
    reader = reader_of({"ENV_FILE": "service.env", **environ})
    settings, problems = parse_settings(Settings, reader)
    assert (settings.colour, problems) == ("blue", [])
    reason = "is now called COLOUR; rename it, because the former name will stop working"
    assert reader.warnings == [StartupProblem("TINT", reason, source)]


def test_former_and_present_name_together_are_a_problem() -> None:
    assert problems_of(TINT="blue", COLOUR="red") == [
        "TINT (environment): is the former name of COLOUR, which is set too"
    ]


# Secrets and problems


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_secret_does_not_show_its_value(show: Any) -> None:
    assert show(Secret("hunter2")) == "Secret(***)"
    assert "hunter2" not in show(parse(TOKEN="hunter2"))


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (StartupProblem("BIND", "is odd", ".env line 3"), "BIND (.env line 3): is odd"),
        (StartupProblem("BIND", "is odd"), "BIND: is odd"),
        (StartupProblem("", "is odd", "GET /"), "GET /: is odd"),
    ],
)
def test_problem_names_setting_and_source(problem: StartupProblem, text: str) -> None:
    assert str(problem) == text

"""Settings that a service adds: the types of their values, secrets, and settings without a default."""

import re
import subprocess
import sys
import traceback
from datetime import timedelta
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, defstruct

from bottle_service.config import format_value
from bottle_service.secret import Secret
from bottle_service.settings import ServiceSettings, Url

from .running_service import assemble
from .tokens import TOKEN


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Number(Secret):
    @classmethod
    def parse(cls, text: str) -> "Number":
        return cls(str(int(text)))


HUNTER = "hunter2-hunter2"
DURATION = "is invalid: expected a duration: seconds, or a number with s, m, h or d, such as 15m"
# A type, a text, its value; and an invalid text and the reason.
TYPES: list[tuple[Any, str, Any, str, str]] = [
    (bool, "true", True, "yes", "'yes' is invalid: expected true or false"),
    (int, "3", 3, "3.5", "'3.5' is invalid: expected int"),
    (int | None, "3", 3, "many", "'many' is invalid: expected int"),
    (Annotated[int, Meta(ge=1)], "1", 1, "0", "'0' is invalid: expected int >= 1"),
    (float, "0.5", 0.5, "half", "'half' is invalid: expected float"),
    (Annotated[str, Meta(min_length=3)], "abc", "abc", "ab", "is invalid: expected str of length >= 3"),
    (
        Annotated[str, Meta(pattern="^[A-Z]+$")],
        "ABC",
        "ABC",
        "abc",
        "is invalid: expected str matching regex '^[A-Z]+$'",
    ),
    (Literal["a", "b"], "a", "a", "c", "'c' is not one of a, b"),
    (Literal["a", "b"] | None, "a", "a", "c", "'c' is not one of a, b"),
    (Literal[1, 2], "1", 1, "3", "'3' is not one of 1, 2"),
    (Colour, "red", Colour.RED, "RED", "'RED' is not one of red, green"),
    (Colour | None, "green", Colour.GREEN, "blue", "'blue' is not one of red, green"),
    (Level, "2", Level.HIGH, "3", "'3' is not one of 1, 2"),
    (list[Literal["a", "b"]], "a, b", ["a", "b"], "a,c", "'c' is not one of a, b"),
    (list[Colour], "red", [Colour.RED], "red,blue", "'blue' is not one of red, green"),
    (tuple[int, ...], "1, 2,", (1, 2), "1,two", "'two' is invalid: expected int"),
    (set[int], "1,2,1", {1, 2}, "x", "'x' is invalid: expected int"),
    (
        Annotated[list[str], Meta(max_length=2)],
        "a,b",
        ["a", "b"],
        "a,b,c",
        "is invalid: expected array of length <= 2",
    ),
    (list[str] | None, "a", ["a"], "", ""),
    (Path, "/srv/data", Path("/srv/data"), "", ""),
    (Path | None, "data", Path("data"), "", ""),
    (list[Path], "a,b", [Path("a"), Path("b")], "", ""),
    (timedelta, "30", timedelta(seconds=30), "soon", f"'soon' {DURATION}"),
    (timedelta, "1.5h", timedelta(minutes=90), "-1s", f"'-1s' {DURATION}"),
    (timedelta, "7d", timedelta(days=7), "1w", f"'1w' {DURATION}"),
    (timedelta | None, "15m", timedelta(minutes=15), "1d2h", f"'1d2h' {DURATION}"),
    (timedelta, "PT30S", timedelta(seconds=30), "PARIS", f"'PARIS' {DURATION}"),
    (Url, "https://a.example/v1?x", Url("https://a.example/v1?x"), "a.example", "is not a URL such as"),
    (Url | None, "http://[::1]:80", Url("http://[::1]:80"), "http://[::1", "is not a URL such as"),
    (list[Url], "http://a,http://b", [Url("http://a"), Url("http://b")], "http://a,b", "is not a URL"),
    (Url, "http://a", Url("http://a"), "http://a:99999", "is not a URL such as"),
    (Url, "http://a", Url("http://a"), "ftp://a.example", "is not a URL such as"),
    (Url, "http://a", Url("http://a"), f"http://me:{HUNTER}@a", "must not contain a user and password"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(kind: Any, text: str, app_env: str = "test", **field: Any) -> tuple[Any, list[str]]:
    """Return the value and the problems of a setting of this type; `default` is the field's."""
    fields = [("own", kind, field["default"]) if field else ("own", kind)]
    settings = defstruct("Settings", fields, bases=(ServiceSettings,), kw_only=True, frozen=True)
    found, problems, _ = settings.read({"APP_ENV": app_env, "OWN": text})  # type: ignore[attr-defined]
    return found, [str(problem) for problem in problems]


@pytest.mark.parametrize(("kind", "text", "value", "invalid", "reason"), TYPES)
def test_value_is_parsed_or_refused_with_the_reason(
    kind: Any, text: str, value: Any, invalid: str, reason: str
) -> None:
    settings, problems = read(kind, text)
    assert (settings.own, problems) == (value, [])
    if invalid:
        settings, (problem,) = read(kind, invalid)
        assert settings.own is None
        assert problem.startswith(f"OWN (environment): {reason}")
        assert HUNTER not in problem


@pytest.mark.parametrize(
    ("kind", "value"), [(row[0], row[2]) for row in TYPES if not isinstance(row[2], set)]
)
def test_formatted_value_is_parsed_as_the_same_value(kind: Any, value: Any) -> None:
    settings, problems = read(kind, format_value(value))
    assert (settings.own, problems) == (value, [])


@pytest.mark.parametrize("value", [None, Secret(HUNTER), [Secret(HUNTER)]])
def test_format_shows_no_secret(value: Any) -> None:
    assert format_value(value) == ""


# Secrets

SECRETS: list[tuple[Any, str]] = [
    (Secret, ""),
    (Secret | None, ""),
    (list[Secret], ""),
    (Annotated[Secret, Meta(min_length=20)], "is invalid: expected str of length >= 20"),
    (Annotated[Secret | None, Meta(pattern="^[0-9]+$")], "is invalid: expected str matching regex"),
    (Annotated[Secret, Meta(min_length=20)] | None, "is invalid: expected str of length >= 20"),
    (Number, "invalid literal for int() with base 10: ***"),
    (list[Number], "invalid literal for int() with base 10: ***"),
]


@pytest.mark.parametrize("secret", ["pin", "pi'n\\", f"1, {HUNTER} ,2"])
def test_refused_part_of_a_secret_is_not_quoted(secret: str) -> None:
    _, (problem,) = read(list[Number], secret)
    assert problem == "OWN (environment): invalid literal for int() with base 10: ***"


@pytest.mark.parametrize(("kind", "reason"), SECRETS)
@pytest.mark.parametrize("default", [None, Secret("")])
def test_secret_is_never_shown(kind: Any, reason: str, default: Any) -> None:
    """Neither an accepted nor a refused one, in problems, `repr` and tracebacks."""
    settings, problems = read(kind, HUNTER, default=default)
    assert "OWN" in type(settings).secrets()
    if reason:
        assert problems[0].startswith(f"OWN (environment): {reason}")
    else:
        (secret,) = settings.own if isinstance(settings.own, list) else [settings.own]
        assert (secret.reveal(), problems) == (HUNTER, [])
    assert HUNTER not in f"{problems} {settings!r} {settings}"
    try:
        type(settings).load({"OWN": HUNTER, "API_TOKENS": "", "BIND": "invalid"})
    except Exception:
        assert HUNTER not in traceback.format_exc()


def test_constraint_of_a_secret_is_checked() -> None:
    settings, problems = read(Annotated[Secret, Meta(max_length=20)], HUNTER)
    assert (settings.own.reveal(), problems) == (HUNTER, [])


# Settings without a default


@pytest.mark.parametrize(
    ("kind", "app_env", "problem"),
    [
        (Url, "production", "OWN: required; set it in the file that ENV_FILE names or in the environment"),
        (Url, "development", "OWN: required; set it in .env or in the environment"),
        (
            Secret,
            "development",
            "OWN: required; set it in .env, in the environment, in the file that OWN_FILE names, or "
            "as a systemd credential",
        ),
        (str | None, "test", "OWN: required; set it in .env or in the environment"),
    ],
)  # fmt: skip
def test_missing_setting_is_required(kind: Any, app_env: str, problem: str) -> None:
    settings, problems = read(kind, "", app_env)
    assert (settings.own, problems) == (None, [problem])
    assert type(settings).required() == {"OWN"}


def test_unreadable_file_of_a_required_secret_is_one_problem() -> None:
    settings = defstruct("Settings", [("own", Secret)], bases=(ServiceSettings,), kw_only=True)
    _, problems, _ = settings.read({"OWN_FILE": "missing"})  # type: ignore[attr-defined]
    assert [problem.setting for problem in problems] == ["OWN_FILE"]


@pytest.mark.parametrize("command", ["check", "serve", "routes"])
@pytest.mark.parametrize("app_env", ["development", "production"])
def test_commands_name_a_missing_setting(tmp_path: Path, command: str, app_env: str) -> None:
    """They exit with 2, although the service's code would fail without the setting."""
    project = assemble(tmp_path)
    settings = project / "src/sample/settings.py"
    settings.write_text(f"{settings.read_text()}    partner: str\n")
    app = project / "src/sample/app.py"
    app.write_text(
        app.read_text().replace("dependencies={}", "dependencies={settings.partner[0]: 1}")
    )
    done = subprocess.run(
        [sys.executable, "-m", "sample", command],
        cwd=project,
        env={"PYTHONPATH": "src", "APP_ENV": app_env, "API_TOKENS": f"me:{TOKEN}"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert re.fullmatch(
        r"sample-service cannot start:\n  PARTNER: required; set it in .*\n", done.stderr
    )

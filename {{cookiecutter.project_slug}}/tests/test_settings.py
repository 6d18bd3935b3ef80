"""The settings: defaults of each environment, and their description in .env.example."""

import re
from pathlib import Path
from typing import get_args

import pytest

from bottle_service.config import AppEnv, format_value

from {{ cookiecutter.package_name }}.settings import Settings

EXAMPLE = Path(__file__).parents[1] / ".env.example"
NAMES = {name.upper() for name in Settings.__struct_fields__} - {"APP_ENV"}
DEFAULTS = Settings.read({})[0]  # those of production; None for a required setting


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests from reading the project's .env."""
    monkeypatch.chdir(tmp_path)


def example() -> dict[str, str]:
    """Return the settings of .env.example, which are comments there."""
    text = EXAMPLE.read_text(encoding="utf-8")
    return dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", text, re.MULTILINE))


def test_production_is_the_default_environment() -> None:
    settings, _, _ = Settings.read({})
    assert settings.app_env == "production"
    assert settings.log_format == "json"


def test_development_logs_text() -> None:
    assert Settings.read({"APP_ENV": "development"})[0].log_format == "text"


@pytest.mark.parametrize("app_env", get_args(AppEnv))
def test_defaults_are_valid_in_every_environment(app_env: AppEnv) -> None:
    _, problems, _ = Settings.read({"APP_ENV": app_env})
    assert [one for one in problems if one.setting not in Settings.required()] == []
    unknown = Settings.defaults.get(app_env, {}).keys() - NAMES
    assert not unknown, f"settings.py: remove {unknown} from `defaults`, or add the field"


def test_invalid_setting_is_reported_with_its_source() -> None:
    Path(".env").write_text("\nWEB_THREADS=many\n")
    _, problems, _ = Settings.read({"APP_ENV": "test"})
    assert "WEB_THREADS (.env line 2): 'many' is invalid: expected int" in map(str, problems)


def test_env_example_contains_every_setting() -> None:
    lines = []
    for name in sorted(NAMES - example().keys()):
        lines.append(f"#{name}={format_value(getattr(DEFAULTS, name.lower()))}")
        lines += [f"#{name}_FILE="] if name in Settings.secrets() else []
    assert not lines, f"{EXAMPLE}: add the lines {lines}"


def test_env_example_contains_only_settings() -> None:
    names = {name.removesuffix("_FILE") if name not in NAMES else name for name in example()}
    unknown = sorted(names - NAMES - {"PORT"})
    assert not unknown, (
        f"{EXAMPLE}: remove the line of {unknown[0]}, or add the field to settings.py"
    )


def test_env_example_marks_every_secret() -> None:
    """A secret NAME can also come from a file, which NAME_FILE names."""
    marked = {name.removesuffix("_FILE") for name in example() if name not in NAMES | {"PORT"}}
    for name in sorted(Settings.secrets() & example().keys() - marked):
        pytest.fail(f"{EXAMPLE}: add a line `#{name}_FILE=` below {name}, because it is a secret")
    for name in sorted(marked - Settings.secrets()):
        pytest.fail(f"{EXAMPLE}: remove the line `#{name}_FILE=`, because {name} is not a secret")


def test_env_example_contains_the_defaults_of_production() -> None:
    """A required setting has none: its line may have an example."""
    for name in sorted((NAMES & example().keys()) - Settings.required()):
        settings, problems, _ = Settings.read({name: example()[name]})
        assert name not in [problem.setting for problem in problems]
        found, default = (getattr(one, name.lower()) for one in (settings, DEFAULTS))
        assert comparable(found) == comparable(default), f"{EXAMPLE}: {name} has another default"


def comparable(value: object) -> object:
    return value.reveal() if hasattr(value, "reveal") else value

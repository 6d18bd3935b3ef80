"""The fixtures: generated projects, and the programs that a test needs."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .template import Answers, generate

Generate = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's Cookiecutter settings out, and what it leaves behind in a place of ours."""
    home = tmp_path_factory.mktemp("home")
    config = home / "cookiecutter.yaml"
    config.write_text(f"cookiecutters_dir: {home}/templates\nreplay_dir: {home}/replay\n")
    os.environ["COOKIECUTTER_CONFIG"] = str(config)
    # Cookiecutter never removes the hooks it has rendered.
    os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("tmp"))
    # The programs of this environment come first, as after activating it.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name in ("APP_ENV", "BIND", "PORT", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Generate:
    """Return the project for these answers; the same answers give the same directory."""
    made: dict[tuple[tuple[str, str], ...], Path] = {}

    def project(**answers: str) -> Path:
        key = tuple(sorted(answers.items()))
        if key not in made:
            made[key] = generate(tmp_path_factory.mktemp("generated"), Answers(answers))
        return made[key]

    return project


@pytest.fixture
def copied(generated: Generate, tmp_path: Path) -> Generate:
    """Return a copy of the project for these answers, to be worked in."""

    def copy(**answers: str) -> Path:
        source = generated(**answers)
        return Path(shutil.copytree(source, tmp_path / source.name))

    return copy


@pytest.fixture(scope="session")
def needs() -> Callable[..., None]:
    """Leave the test out where a program is missing; with REQUIRE_ALL=1 that is a failure."""

    def check(*programs: str, also: bool = True, reason: str = "") -> None:
        missing = [program for program in programs if not shutil.which(program)]
        if missing or not also:
            why = reason if not also else f"not installed: {', '.join(missing)}"
            if os.environ.get("REQUIRE_ALL") == "1":
                pytest.fail(f"REQUIRE_ALL=1, but {why}")
            pytest.skip(why)

    return check

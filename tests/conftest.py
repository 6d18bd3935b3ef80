"""Shared fixtures: generated projects, the template's repository, and the check for programs."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from .debian.selection import HOSTS
from .mutation import plugin
from .mutation.mutants import Mutant
from .support.fixtures import Generate, Needs
from .support.generate import Answers, compile_templates_once, generate
from .support.git import clone_working_tree
from .support.postgresql import FAST, INSTALLED, Cluster, running_cluster
from .support.shared_directory import set_shared_directory

# Variables of the user that change what the tests start. Without bytecode, each process that a test
# starts compiles all packages again.
FOREIGN = (
    "APP_ENV",
    "BIND",
    "PORT",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
)


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's Cookiecutter settings out, and Cookiecutter's files in the tests' directory."""
    home = tmp_path_factory.mktemp("home")
    config = home / "cookiecutter.yaml"
    config.write_text(f"cookiecutters_dir: {home}/templates\nreplay_dir: {home}/replay\n")
    os.environ["COOKIECUTTER_CONFIG"] = str(config)
    # The programs of this environment come first, as after activating it.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name in FOREIGN:
        os.environ.pop(name, None)
    set_shared_directory(tmp_path_factory)
    compile_templates_once()
    # Cookiecutter never removes the hooks that it renders. Paths of unix sockets must be short.
    with tempfile.TemporaryDirectory(prefix="t") as directory:
        os.environ["TMPDIR"] = tempfile.tempdir = directory
        yield
        tempfile.tempdir = None


@pytest.fixture(autouse=True)
def _no_package_index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse a package index to the tests of `make test`: tests/installation/ needs one."""
    if request.path.parent.name in ("template", "package", "project"):
        for name in ("PIP_NO_INDEX", "PIP_NO_CACHE_DIR", "UV_OFFLINE", "UV_NO_CACHE"):
            monkeypatch.setenv(name, "1")


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Generate:
    """Return the project for these answers; equal answers return the same directory.

    The project has the mutant that the environment names, if any: mutation/mutants.py.
    """
    made: dict[tuple[tuple[str, str], ...], Path] = {}

    def project(**answers: str) -> Path:
        key = tuple(sorted(answers.items()))
        if key not in made:
            made[key] = generate(tmp_path_factory.mktemp("generated"), Answers(answers))
            if mutant := Mutant.from_environ():
                mutant.apply(made[key])
        return made[key]

    return project


@pytest.fixture
def copied(generated: Generate, tmp_path: Path) -> Generate:
    """Return a copy of the project for these answers, which the test may change."""

    def copy(**answers: str) -> Path:
        source = generated(**answers)
        return Path(shutil.copytree(source, tmp_path / source.name))

    return copy


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone of the template whose last commit is the working tree."""
    return clone_working_tree(tmp_path_factory.mktemp("template") / "cookiecutter-bottle-service")


@pytest.fixture(scope="session")
def needs() -> Needs:
    """Return a function that skips the test if a program is missing; REQUIRE_ALL=1 fails it."""

    def check(*programs: str, also: bool = True, reason: str = "") -> None:
        missing = [program for program in programs if not shutil.which(program)]
        if missing or not also:
            why = reason if not also else f"not installed: {', '.join(missing)}"
            if os.environ.get("REQUIRE_ALL") == "1":
                pytest.fail(f"REQUIRE_ALL=1, but {why}")
            pytest.skip(why)

    return check


@pytest.fixture(scope="session")
def postgresql(needs: Needs) -> Iterator[Cluster]:
    """A PostgreSQL server; each test creates its own database there."""
    needs(also=INSTALLED, reason="not installed: postgresql")
    with running_cluster(*FAST) as cluster:
        yield cluster


def pytest_configure(config: pytest.Config) -> None:
    if plugin.MUTANTS:
        config.pluginmanager.register(plugin)


class _MachineScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Run the tests of one machine, or else of one file, on the same xdist worker.

    The tests of the how-to pages share nothing.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        if file.startswith("tests/how_to/"):
            return nodeid
        machine = re.search(rf"\b(?:{'|'.join(HOSTS)})\b", name)
        return machine[0] if machine else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _MachineScheduling:
    return _MachineScheduling(config, log)

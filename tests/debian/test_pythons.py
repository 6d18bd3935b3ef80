"""Generated suites and the package's tests on the Python releases of Debian testing."""

import os
import platform
import re
import shutil
from pathlib import Path

import pytest

from ..support.fixtures import Generate, Needs
from ..support.generate import TEMPLATE
from ..support.matrix import NO_WHEEL
from ..support.process import run
from .chroot import PROGRAMS, Chroot

SUITE = "forky"
SERVERS = ("gunicorn", "waitress", "uwsgi")
VERSIONS = ("3.14", "3.15")
PYTHON = "/srv/venv/bin/python"


def install(lock_directory: Path, venv: Path, version: str) -> None:
    """Install the wheels of the locks for a Python release that this host may not have."""
    run(
        "uv", "pip", "install", "--quiet", "--target", venv / f"lib/python{version}/site-packages",
        "--python-version", version, "--python-platform", f"{platform.machine()}-manylinux_2_28",
        "--only-binary", ":all:", "--require-hashes",
        "-r", "requirements.txt", "-r", "requirements-dev.txt",
        cwd=lock_directory,
    )  # fmt: skip


@pytest.fixture(
    scope="module",
    params=[
        (version, server)
        for version in VERSIONS
        for server in SERVERS
        if (server, version) not in NO_WHEEL
    ],
    ids="-".join,
)
def chroot(
    request: pytest.FixtureRequest,
    generated: Generate,
    needs: Needs,
    tmp_path_factory: pytest.TempPathFactory,
) -> Chroot:
    """Return Debian testing with a generated project and a virtual environment of its locks."""
    needs(*PROGRAMS, also=os.getuid() == 0, reason="only root can mount a Debian tree")
    version, server = request.param
    directory = tmp_path_factory.mktemp("pythons")
    project, venv = directory / "project", directory / "venv"
    shutil.copytree(generated(wsgi_server=server), project)
    install(project, venv, version)
    chroot = Chroot(
        SUITE, directory, project=(project, "rw"), venv=(venv, "rw"), template=(TEMPLATE, "ro")
    )
    # The packages stay in place, because venv only adds what is missing.
    chroot.run(f"python{version}", "-m", "venv", "--without-pip", "/srv/venv")
    printed = chroot.run(PYTHON, "-c", "import platform; print(platform.python_version())")
    assert printed.startswith(version)
    return chroot


def test_suite_passes(chroot: Chroot) -> None:
    summary = chroot.run(PYTHON, "-m", "pytest", "--color=no", cwd="/srv/project")
    assert re.search(r"^[0-9]+ passed, [0-9]+ deselected in", summary, re.MULTILINE), summary


def test_started_server_passes_the_contract(chroot: Chroot) -> None:
    printed = chroot.run(PYTHON, "-m", "pytest", "--server", "tcp", cwd="/srv/project")
    assert re.search(r"^[1-9][0-9]* shared cases passed", printed, re.MULTILINE), printed


def test_package_tests_pass(chroot: Chroot) -> None:
    """The package's own tests; pytest does not load the conftest.py of the other tests."""
    tests = ["--confcutdir", "tests/package", "-p", "no:cacheprovider", "tests/package"]
    chroot.run(PYTHON, "-m", "pytest", "--color=no", *tests, cwd="/srv/template")

"""The newest Python releases, those of Debian testing: generation, the package and the services."""

import os
import platform
import re
import shutil
from pathlib import Path

import pytest

from ..support.files import file_tree
from ..support.fixtures import Generate, Needs
from ..support.generate import TEMPLATE
from ..support.matrix import NO_WHEEL
from ..support.process import run
from .chroot import PROGRAMS, Chroot

SUITE = "forky"
SERVERS = ("gunicorn", "waitress", "uwsgi")
VERSIONS = ("3.14", "3.15")
PYTHON = "/srv/venv/bin/python"
# Without the cache, which pytest would write to the template.
PYTEST = (PYTHON, "-m", "pytest", "--color=no", "-p", "no:cacheprovider")
REQUIRED = {"also": os.getuid() == 0, "reason": "only root can mount a Debian tree"}
PROJECTS = [
    (version, server)
    for version in VERSIONS
    for server in SERVERS
    if (server, version) not in NO_WHEEL
]


def enter(version: str, directory: Path, *locks: Path, **shared: tuple[Path, str]) -> Chroot:
    """Return Debian testing with a virtual environment of the locked wheels.

    uv installs them from outside, for a Python release that this host may not have.
    """
    venv = directory / "venv"
    packages = venv / f"lib/python{version}/site-packages"
    run(
        "uv", "pip", "install", "--quiet", "--target", packages,
        "--python-version", version, "--python-platform", f"{platform.machine()}-manylinux_2_28",
        "--only-binary", ":all:", "--require-hashes",
        *(word for lock in locks for word in ("--requirements", lock)),
        cwd=directory,
    )  # fmt: skip
    (venv / "bin").mkdir()
    for script in (packages / "bin").iterdir():
        shebang, _, rest = script.read_bytes().partition(b"\n")
        if shebang.startswith(b"#!"):
            own = venv / "bin" / script.name
            own.write_bytes(f"#!{PYTHON}\n".encode() + rest)
            own.chmod(0o755)
    chroot = Chroot(SUITE, directory, venv=(venv, "rw"), **shared)
    # The packages stay in place, because venv only adds what is missing.
    chroot.run(f"python{version}", "-m", "venv", "--without-pip", "/srv/venv")
    printed = chroot.run(PYTHON, "-c", "import platform; print(platform.python_version())")
    assert printed.startswith(f"{version}.")
    return chroot


@pytest.mark.parametrize(("version", "server"), PROJECTS)
def test_suites_pass(
    generated: Generate, needs: Needs, tmp_path: Path, version: str, server: str
) -> None:
    """The generated suite in process, and its contract cases against the started server."""
    needs(*PROGRAMS, **REQUIRED)
    project = tmp_path / "project"
    shutil.copytree(generated(wsgi_server=server), project)
    locks = (project / "requirements.txt", project / "requirements-dev.txt")
    chroot = enter(version, tmp_path, *locks, project=(project, "rw"))
    summary = chroot.run(*PYTEST, cwd="/srv/project")
    assert re.search(r"^[0-9]+ passed(, [0-9]+ deselected)? in", summary, re.MULTILINE), summary
    printed = chroot.run(*PYTEST, "--server", "tcp", cwd="/srv/project")
    assert re.search(r"^[1-9][0-9]* shared cases passed", printed, re.MULTILINE), printed


@pytest.mark.parametrize("version", VERSIONS)
def test_template_works(generated: Generate, needs: Needs, tmp_path: Path, version: str) -> None:
    """Cookiecutter and the hooks generate the same project.

    With the newest release, the tests of the package pass, too: the releases between it and the
    oldest one, which runs them in `make test`, have the changes of both.
    """
    needs(*PROGRAMS, **REQUIRED)
    made = tmp_path / "made"
    made.mkdir()
    shared = {"made": (made, "rw"), "template": (TEMPLATE, "ro")}
    chroot = enter(version, tmp_path, TEMPLATE / "requirements.txt", **shared)
    cookiecutter = ("-m", "cookiecutter", "--no-input", "--default-config", "/srv/template")
    chroot.run(PYTHON, *cookiecutter, cwd="/srv/made")
    assert file_tree(made / "my-service") == file_tree(generated())
    if version == VERSIONS[-1]:
        without = " and ".join(f"not {name}" for name, lacking in NO_WHEEL if lacking == version)
        chroot.run(*PYTEST, "-n", "2", "-k", without, "tests/package", cwd="/srv/template")

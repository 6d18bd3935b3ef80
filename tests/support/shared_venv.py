"""Virtual environments of generated projects: the packages of equal locks are installed once."""

import hashlib
import shutil
from pathlib import Path

from .process import run
from .shared_directory import locked, shared_directory

LOCKS = ("requirements.txt", "requirements-dev.txt")


def use_shared_venv(project: Path) -> None:
    """Give the project a `.venv` as `make .venv/ready` does, with the packages of a shared one."""
    locks = [(project / name).read_text() for name in LOCKS]
    shared = _shared_venv("".join(locks))
    venv = project / ".venv"
    venv.mkdir()
    shutil.copy(shared / "pyvenv.cfg", venv)
    shutil.copytree(shared / "bin", venv / "bin", symlinks=True)
    for script in (venv / "bin").iterdir():
        if not script.is_symlink() and str(shared).encode() in script.read_bytes()[:200]:
            script.write_text(script.read_text().replace(str(shared), str(venv)))
    (packages,) = shared.glob("lib/python*/site-packages")
    own_packages = venv / packages.relative_to(shared)
    own_packages.mkdir(parents=True)
    (own_packages / "shared.pth").write_text(f"import site; site.addsitedir({str(packages)!r})\n")
    (own_packages / "src.pth").write_text(f"{project}/src\n")
    (venv / "ready").touch()


def _shared_venv(requirements: str) -> Path:
    """Make the environment for these locks, once for all workers of the run."""
    name = hashlib.sha256(requirements.encode()).hexdigest()[:12]
    directory = shared_directory() / f"venv-{name}"
    venv = directory / "venv"
    with locked(directory.name):
        if not directory.exists():
            directory.mkdir()
            (directory / "requirements.txt").write_text(requirements)
            run("uv", "venv", "--quiet", venv, cwd=directory)
            install = ("uv", "pip", "install", "--quiet", "--python", venv)
            run(*install, "-r", "requirements.txt", cwd=directory)
    return venv

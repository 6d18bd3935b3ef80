"""Virtual environment of a generated project that several tests share."""

import functools
import os
import tempfile
from pathlib import Path

from .process import run


@functools.cache
def _shared_venv(requirements: str) -> Path:
    """Make the environment for these locks, once in each process."""
    directory = Path(tempfile.mkdtemp(dir=os.environ["TMPDIR"]))
    lock = directory / "requirements.txt"
    lock.write_text(requirements)
    venv = directory / "venv"
    run("uv", "venv", "--quiet", venv, cwd=directory)
    run("uv", "pip", "install", "--quiet", "--python", venv, "-r", lock, cwd=directory)
    return venv


def use_shared_venv(project: Path) -> None:
    """Link the parts of `.venv` to the shared environment, as if `make .venv/ready` had run.

    Only one project at a time can use the environment, because src.pth names its package.
    """
    locks = [project / name for name in ("requirements.txt", "requirements-dev.txt")]
    venv = _shared_venv("".join(lock.read_text() for lock in locks))
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "src.pth").write_text(f"{project}/src\n")
    (project / ".venv").mkdir()
    for part in venv.iterdir():
        (project / ".venv" / part.name).symlink_to(part)
    (project / ".venv" / "ready").touch()

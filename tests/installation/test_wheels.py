"""Locks of the template and of generated projects: a wheel for each platform and Python of the README."""

import re
import subprocess
from pathlib import Path

import pytest

from ..support.generate import PROJECT, TEMPLATE

VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
# uv's names of the platforms in the README.
GLIBC = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
MUSL = ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl")
MACOS = ("aarch64-apple-darwin", "x86_64-apple-darwin")
# Locked packages without a wheel there.
LACKING = {
    "pyuwsgi": [(platform, "3.15") for platform in (*GLIBC, *MUSL, *MACOS)],
    "grimp": [(platform, "3.15") for platform in MUSL],
}


def find_wheels(lock: str, platform: str, version: str, directory: Path) -> str:
    """Return uv's message if a locked package has no wheel; nothing is downloaded or installed."""
    (directory / "lock.txt").write_text(lock)
    done = subprocess.run(
        [
            "uv", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes",
            "--python-platform", platform, "--python-version", version, "--target", directory, "-r", "lock.txt",
        ],
        cwd=directory, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode == 0) == (done.stderr == ""), done.stderr
    return done.stderr


@pytest.mark.parametrize("platform", [*GLIBC, *MUSL, *MACOS])
def test_locks_have_wheels(tmp_path: Path, platform: str) -> None:
    """Both locks of every combination of answers; it needs no interpreter of these versions."""
    locks = [PROJECT / name for name in ("requirements.txt", "requirements-dev.txt")]
    lock = "".join(re.sub(r"(?m)^# <%.*\n", "", path.read_text()) for path in locks)
    for version in VERSIONS:
        complete = lock
        for package, places in LACKING.items():
            if (platform, version) in places:
                entry = re.findall(rf"(?m)^{package}==.*\n(?: .*\n)+", complete)
                assert package in find_wheels("".join(entry), platform, version, tmp_path)
                complete = complete.replace(entry[0], "")
        assert find_wheels(complete, platform, version, tmp_path) == ""


@pytest.mark.parametrize("platform", [*GLIBC, *MACOS])
def test_lock_of_the_template_has_wheels(tmp_path: Path, platform: str) -> None:
    lock = (TEMPLATE / "requirements.txt").read_text()
    for version in (VERSIONS[0], VERSIONS[-1]):
        assert find_wheels(lock, platform, version, tmp_path) == ""

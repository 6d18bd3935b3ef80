"""Cached file trees of Debian suites, made by mmdebstrap."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("BOOT_CACHE") or Path.home() / ".cache/cookiecutter-bottle-service")
# Packages of a host of the service, and those that Debian's minimal variant lacks.
PACKAGES = (
    "systemd,systemd-sysv,dbus,nginx,python3,python3-venv,git,openssl,ca-certificates,curl,procps"
)
# Packages of each suite, and those of their services that Debian would start at boot.
SUITES = {
    "bookworm": (PACKAGES, ""),
    "trixie": (
        f"{PACKAGES},postgresql,prometheus,supervisor,uwsgi-core",
        "postgresql prometheus supervisor",
    ),
    # Nothing boots here: debian/test_pythons.py runs the interpreters.
    "forky": ("git,openssl,procps,python3.14-venv,python3.15-venv", ""),
}
PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
# Mirrors may lag behind the suite that changes daily, and apt rejects a list older than a week.
CHANGING = "forky"


def sources(suite: str) -> list[str]:
    """Return the Debian sources of this host's apt; on other systems mmdebstrap has a default."""
    host = platform.freedesktop_os_release()
    if host["ID"] != "debian":
        return []
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(CODENAME)"],
        check=True,
        capture_output=True,
        text=True,
    )
    own = host.get("VERSION_CODENAME", "")
    found = {
        f"deb {uri} {name.replace(own, suite)} main"
        for origin, uri, name in (line.split() for line in sorted(set(done.stdout.splitlines())))
        if origin == "Debian" and name in (own, f"{own}-updates", f"{own}-security")
    }
    return sorted(found)


def tree(suite: str) -> Path:
    """Return the cached tree of the suite; make it if it is missing."""
    key = hashlib.sha256("".join(SUITES[suite]).encode()).hexdigest()[:8]
    path = CACHE.resolve() / f"{suite}-{key}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _make(suite, path)
    return path


def _make(suite: str, path: Path) -> None:
    packages, services = SUITES[suite]
    part = path.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man")]
    if suite == CHANGING:
        command.append('--aptopt=Acquire::Check-Valid-Until "false"')
    if services:
        command += [f'--customize-hook=chroot "$1" systemctl --quiet disable {services}']
    done = subprocess.run(
        [*command, suite, str(part), *sources(suite)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # Each machine makes its own ID when it boots.
    (part / "etc/machine-id").write_text("")
    part.rename(path)


def program(suite: str, path: str) -> list[str]:
    """Return the command that runs a program of the suite on this host, with its own libraries."""
    root = tree(suite)
    (loader,) = root.glob("usr/lib*/ld-linux-*.so.*")
    (libraries,) = root.glob("usr/lib/*-linux-gnu")
    return [str(loader), "--library-path", str(libraries), str(root / path)]

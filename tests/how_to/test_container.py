"""docs/how-to/container.md: its image is built, started, asked, and stopped."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.debian_tree import PYTHON, tree
from ..support.fixtures import Generate, Needs
from ..support.process import run
from .steps import follow

BASE = "localhost/base"
# Parts of the tree that a Python service does not need; without them the import takes a second.
LEFT_OUT = [
    "boot", "var", "usr/bin/git*", "usr/bin/perl*", "usr/bin/prom*", "usr/bin/uwsgi*",
    "usr/lib/git-core", "usr/lib/systemd", "usr/lib/*/perl*", "usr/share/[!p]*", "usr/share/pe*",
]  # fmt: skip
# Podman 4 does not know hosts with both versions of cgroups: it gets the directory without the second.
# crun 1.8 gives /dev/null, which is the input of a container, to the container's user: it gets a copy.
NAMESPACE = """\
umount -l /sys/fs/cgroup/unified 2>&-
mknod -m 666 {null} c 1 3 && mount --bind {null} /dev/null || exit
echo
exec sleep infinity
"""
PODMAN = """\
#!/bin/sh
command=$1
shift
case $command in
    build) set -- --layers=false --build-arg BASE={base} --volume {wheels}:/wheels:ro --volume {wheels}/pip.conf:/etc/pip.conf:ro "$@" ;;
    run) set -- --network=none "$@" ;;
esac
case $command in
    build | run) set -- --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$@" ;;
esac
exec nsenter --mount --target {holder} --wd="$PWD" {podman} --root {here}/root --runroot {here}/run "$command" "$@"
"""
# Sends a POST whose body ends a second later; run in the network of the container.
POST = """
import socket, sys, time
token, body = sys.argv[1], b'{"title": "Hello"}'
client = socket.create_connection(("127.0.0.1", 8000))
client.sendall(
    f"POST /api/v1/notes HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer {token}\\r\\n"
    f"Content-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n".encode() + body[:5]
)
time.sleep(0.3)
print("sent", flush=True)
time.sleep(1)
client.sendall(body[5:])
print(client.recv(12).decode())
"""


@pytest.fixture
def podman(needs: Needs, tmp_path: Path) -> Iterator[Path]:
    """A directory with a program `podman`, which keeps everything in a directory of the test."""
    needs("podman", "mmdebstrap", also=os.getuid() == 0, reason="only root can build from a tree")
    programs = tmp_path / "bin"
    programs.mkdir()
    with (
        tempfile.TemporaryDirectory(prefix="p") as directory,  # Podman requires a short path
        subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", NAMESPACE.format(null=f"{directory}/null")],
            stdout=subprocess.PIPE,
        ) as holder,
    ):
        assert holder.stdout
        assert holder.stdout.readline() == b"\n"
        script = PODMAN.format(
            base=BASE,
            wheels=tmp_path / "wheels",
            holder=holder.pid,
            podman=shutil.which("podman"),
            here=directory,
        )
        (programs / "podman").write_text(script)
        (programs / "podman").chmod(0o755)
        owner = os.stat(os.devnull).st_uid
        try:
            yield programs
            assert os.stat(os.devnull).st_uid == owner
            run(programs / "podman", "rm", "--all", "--force", "--time=0", cwd=tmp_path)
        finally:
            holder.kill()


def import_base(podman: Path) -> None:
    exclude = [f"--exclude=./{path}" for path in LEFT_OUT]
    pack = ["tar", "-C", str(tree("trixie")), *exclude, "-c", "."]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as archive:
        subprocess.run(
            [podman / "podman", "import", "-", BASE],
            stdin=archive.stdout,
            check=True,
            capture_output=True,
        )


def fetch_wheels(project: Path, wheels: Path) -> None:
    wheels.mkdir()
    machine = os.uname().machine
    platforms = [f"--platform=manylinux{tag}_{machine}" for tag in ("2014", "_2_17", "_2_28")]
    run(
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--only-binary=:all:", f"--python-version={PYTHON['trixie']}", *platforms, "--dest", wheels,
        "--require-hashes", "-r", "requirements.txt", cwd=project,
    )  # fmt: skip
    (wheels / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")


def test_image_is_built_and_run(copied: Generate, podman: Path, tmp_path: Path) -> None:
    project = copied()
    follow(project, "container.md")
    (project / ".env").write_text("API_TOKENS=developer:secret\n")
    import_base(podman)
    fetch_wheels(project, tmp_path / "wheels")
    page = (project / "docs/how-to/container.md").read_text()
    static = tmp_path / "static"
    static.mkdir()

    def shell(commands: str) -> str:
        path = f"{podman}{os.pathsep}{os.environ['PATH']}"
        return run("bash", "-euc", commands, cwd=project, PATH=path)

    for commands in re.findall(r"```bash\n(.*?)```", page, re.DOTALL):
        shell(commands.replace("/var/lib/my-service-static", str(static)))
    assert (static / ".manifest.json").exists()
    shell("timeout 20 sh -c 'until podman healthcheck run my-service; do sleep 0.2; done'")
    user, program, files, token, write = shell(
        "podman exec my-service sh -c 'id -u; tr \\\\0 _ </proc/1/cmdline; echo; ls -Am /app; "
        "cut -d: -f2 /run/secrets/API_TOKENS; touch /app/x 2>&1 || true'"
    ).splitlines()
    assert user == "10001"
    assert program == "/app/.venv/bin/python_-m_my_service_serve_"
    assert files == ".venv, gunicorn.conf.py, requirements.txt, src"
    assert "Read-only file system" in write
    process = shell("podman inspect --format '{{.State.Pid}}' my-service").strip()
    post = ["nsenter", "--net", "--target", process, sys.executable, "-c", POST, token]
    with subprocess.Popen(post, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout
        assert client.stdout.readline() == "sent\n"
        began = time.monotonic()
        shell("podman stop my-service")
        assert client.stdout.readline() == "HTTP/1.1 201\n"
    assert 1 < time.monotonic() - began < 5
    assert shell("podman inspect --format '{{.State.ExitCode}}' my-service") == "0\n"

"""Booted Debian machine: a container with systemd as process 1, and a client on its network.

A machine is the cached tree of its suite under a writable layer in memory. Its mounts and its
network exist only in its own namespaces, so nothing remains when it ends.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ..support.debian_tree import tree

PROGRAMS = ("curl", "ip", "mmdebstrap", "nsenter", "setpriv", "systemd-nspawn", "unshare")
ADDRESS = "10.89.0.2"

# The machine ends with the tests, even if these are killed.
OWN_NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
# $1: cached tree, $2: directory to mount on, others: control groups to join.
BOOT = """
tree=$1 here=$2; shift 2
for group; do echo $$ > "$group/cgroup.procs"; done
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=755 boot "$here"
mkdir "$here/upper" "$here/work" "$here/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$here/upper,workdir=$here/work" overlay "$here/root"
ip link set lo up
exec systemd-nspawn --quiet --directory="$here/root" --machine="${here##*/}" --hostname=app-host \
    --register=no --keep-unit --network-veth-extra=client:eth0 \
    --resolv-conf=off --timezone=off --link-journal=no --console=pipe \
    --capability=all --drop-capability=CAP_SYS_MODULE --system-call-filter=bpf \
    /bin/sh -c "$INIT"
"""
# systemd-nspawn mounts controllers of version 1 read-only, so limits would silently have no effect.
# Without bpf(), IPAddressDeny= would have none.
INIT = """
for group in /sys/fs/cgroup/*; do mount -o remount,rw,bind "$group"; done 2>/dev/null
exec /lib/systemd/systemd
"""

Booted = Callable[..., contextlib.AbstractContextManager[tuple["Machine", Path]]]


class Machine:
    """Booted Debian of a suite, as a context manager that powers it off at its end."""

    def __init__(self, suite: str, directory: Path, name: str = "") -> None:
        self.name = "-".join(filter(None, ["boot", str(os.getpid()), suite, name]))
        self.suite = suite
        self.mount = directory / self.name
        self.console = directory / f"{self.name}.log"

    @property
    def root(self) -> Path:
        """Root directory of the machine, as seen from this host. Do not resolve it: it is a link."""
        return Path(f"/proc/{self.init}/root")

    def __enter__(self) -> "Machine":
        self.mount.mkdir()
        lower = tree(self.suite)
        self.groups = control_groups(self.name)
        with self.console.open("wb") as console:
            # The client runs in the network namespace that this process shares with systemd-nspawn.
            self.outer = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *OWN_NAMESPACES, "sh", "-euc", BOOT, "boot"]
                + [str(path) for path in (lower, self.mount, *self.groups)],
                env={**os.environ, "INIT": INIT},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        try:
            self._wait_for_init()
            self._join()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_for_init(self) -> None:
        self.init = 0
        ends = time.monotonic() + 60
        while not self.init or self.state() not in ("running", "degraded"):
            if self.outer.poll() is not None or time.monotonic() > ends:
                raise AssertionError(f"not booted: {self.console.read_text()}")
            time.sleep(0.05)
            with contextlib.suppress(OSError, LookupError):
                process = child(child(self.outer.pid))
                if Path(f"/proc/{process}/comm").read_text() == "systemd\n":
                    self.init = process

    def _join(self) -> None:
        """Configure the addresses of both ends of the network."""
        for process, interface, address in (
            (self.outer.pid, "client", "10.89.0.1/24"),
            (self.init, "eth0", f"{ADDRESS}/24"),
        ):
            network = ["nsenter", f"--net=/proc/{process}/ns/net", "ip"]
            subprocess.run([*network, "addr", "add", address, "dev", interface], check=True)
            subprocess.run([*network, "link", "set", interface, "up"], check=True)

    def state(self) -> str:
        """Return systemd's state of the machine: running, or degraded if a unit has failed."""
        return self._run("systemctl", "is-system-running").stdout.strip()

    def __exit__(self, *_: object) -> None:
        if self.init:
            # The signal with which systemd powers off cleanly.
            os.kill(self.init, signal.SIGRTMIN + 3)
        try:
            self.outer.wait(20 if self.init else 0)
        except subprocess.TimeoutExpired:
            os.killpg(self.outer.pid, signal.SIGKILL)
            self.outer.wait()
        for group in self.groups:
            for directory in sorted(group.rglob("*/"), reverse=True):
                directory.rmdir()
            group.rmdir()

    def _run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nsenter", f"--target={self.init}", "--all", "--", *command],
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME": "/root"}
            | environ,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )

    def inside(self, *command: str, status: int = 0, **environ: str) -> str:
        """Run a program in the machine as root, and return its output."""
        done = self._run(*command, **environ)
        assert done.returncode == status, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def client(self, *command: str) -> "subprocess.Popen[str]":
        """Start a program of this host on the machine's network."""
        return subprocess.Popen(
            ["nsenter", f"--net=/proc/{self.outer.pid}/ns/net", "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def http_version(self, name: str, certificate: Path) -> str:
        """Return the HTTP version that curl negotiates with the site of this name."""
        site = ["--connect-to", f"{name}:443:{ADDRESS}:443", "--cacert", str(certificate)]
        command = ["curl", "--silent", "--http2", *site, "--output", "/dev/null"]
        return self.client(
            *command, "--write-out", "%{http_version}", f"https://{name}/"
        ).communicate()[0]


def child(process: int) -> int:
    """Return the last child of a process."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[-1])


def control_groups(name: str) -> list[Path]:
    """Make a control group in each hierarchy, because systemd-nspawn divides the group it runs in."""
    top = Path("/sys/fs/cgroup")
    made = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        hierarchy = top / (controllers.removeprefix("name=").partition(",")[0] or "unified")
        if not controllers and not hierarchy.is_dir():
            hierarchy = top
        group = hierarchy / path.strip("/") / name
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems") if controllers == "cpuset" else ():
            (group / setting).write_text((group.parent / setting).read_text())
        made.append(group)
    return made

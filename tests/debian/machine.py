"""A Debian that is really booted: systemd as process 1 of a container, and a client beside it.

A machine is a tree of its suite, cached, under a writable layer in memory. All that it mounts and
all its network lives in namespaces of its own, so nothing is left behind when it ends.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path

CACHE = Path(os.environ.get("BOOT_CACHE") or Path.home() / ".cache/cookiecutter-bottle-service")
PROGRAMS = ("curl", "ip", "mmdebstrap", "nsenter", "setpriv", "systemd-nspawn", "unshare")
# What a host of the service has, and the little that a Debian without its extras lacks.
PACKAGES = (
    "systemd,systemd-sysv,dbus,nginx,python3,python3-venv,git,openssl,ca-certificates,curl,procps"
)
# And what only some tests start: packages, and which of their services Debian would start itself.
MORE = {
    "bookworm": ("", ""),
    "trixie": (",prometheus,supervisor,uwsgi-core", "prometheus supervisor"),
}
PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
ADDRESS = "10.89.0.2"

# It ends with the tests, however they end.
OWN_NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
# $1: the cached tree, $2: a directory to mount on, the others: control groups to join.
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
# Where the controllers are of version 1, systemd-nspawn mounts them read-only: limits would be
# silently without effect, as IPAddressDeny= would be without bpf().
INIT = """
for group in /sys/fs/cgroup/*; do mount -o remount,rw,bind "$group"; done 2>/dev/null
exec /lib/systemd/systemd
"""


def sources(suite: str) -> list[str]:
    """Return where this host's own apt gets Debian from; elsewhere mmdebstrap knows a place."""
    host = platform.freedesktop_os_release()
    if host["ID"] != "debian":
        return []
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(CODENAME)"],
        check=True,
        capture_output=True,
        text=True,
    )
    own = host.get("VERSION_CODENAME", "")
    found = {
        f"deb {uri} {name.replace(own, suite)} main"
        for origin, uri, name in (line.split() for line in sorted(set(told.stdout.splitlines())))
        if origin == "Debian" and name in (own, f"{own}-updates", f"{own}-security")
    }
    return sorted(found)


def tree(suite: str) -> Path:
    """Return the cached tree of the suite, made if it is not there."""
    more, services = MORE[suite]
    key = hashlib.sha256(f"{PACKAGES}{more}{services}".encode()).hexdigest()[:8]
    path = CACHE.resolve() / f"{suite}-{key}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _make(suite, path)
    return path


def _make(suite: str, path: Path) -> None:
    more, services = MORE[suite]
    part = path.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}{more}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man")]
    if services:
        command += [f'--customize-hook=chroot "$1" systemctl --quiet disable {services}']
    done = subprocess.run(
        [*command, suite, str(part), *sources(suite)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # Each boot makes its own.
    (part / "etc/machine-id").write_text("")
    part.rename(path)


def program(suite: str, path: str) -> list[str]:
    """Return the command of a program of the suite, to be run on this host: with its own libraries."""
    root = tree(suite)
    (loader,) = root.glob("usr/lib*/ld-linux-*.so.*")
    (libraries,) = root.glob("usr/lib/*-linux-gnu")
    return [str(loader), "--library-path", str(libraries), str(root / path)]


class Machine:
    """A booted Debian of the suite: a context that powers it off at its end."""

    def __init__(self, suite: str, directory: Path, name: str = "") -> None:
        self.name = "-".join(filter(None, ["boot", str(os.getpid()), suite, name]))
        self.suite = suite
        self.mount = directory / self.name
        self.console = directory / f"{self.name}.log"

    @property
    def root(self) -> Path:
        """The files of the machine, as seen from this host (not to be resolved: it is a link)."""
        return Path(f"/proc/{self.init}/root")

    def __enter__(self) -> "Machine":
        self.mount.mkdir()
        lower = tree(self.suite)
        self.groups = control_groups(self.name)
        with self.console.open("wb") as console:
            # In the network namespace of these, which systemd-nspawn shares, is the client.
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
        """Give both ends of the network their addresses."""
        for process, interface, address in (
            (self.outer.pid, "client", "10.89.0.1/24"),
            (self.init, "eth0", f"{ADDRESS}/24"),
        ):
            network = ["nsenter", f"--net=/proc/{process}/ns/net", "ip"]
            subprocess.run([*network, "addr", "add", address, "dev", interface], check=True)
            subprocess.run([*network, "link", "set", interface, "up"], check=True)

    def state(self) -> str:
        """What systemd says of the whole machine: running, or degraded if a unit has failed."""
        return self._run("systemctl", "is-system-running").stdout.strip()

    def __exit__(self, *_: object) -> None:
        if self.init:
            # What systemd takes for a clean power off.
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
        """Run a program in the machine as root, and return all that it printed."""
        done = self._run(*command, **environ)
        assert done.returncode == status, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def client(self, *command: str) -> "subprocess.Popen[str]":
        """Start a program of this host as the machine's client on the network."""
        return subprocess.Popen(
            ["nsenter", f"--net=/proc/{self.outer.pid}/ns/net", "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def http_version(self, name: str, certificate: Path) -> str:
        """Return the version that curl and the site of this name agree on."""
        site = ["--connect-to", f"{name}:443:{ADDRESS}:443", "--cacert", str(certificate)]
        command = ["curl", "--silent", "--http2", *site, "--output", "/dev/null"]
        return self.client(
            *command, "--write-out", "%{http_version}", f"https://{name}/"
        ).communicate()[0]


def child(process: int) -> int:
    """Return the last child of a process."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[-1])


def control_groups(name: str) -> list[Path]:
    """Make a control group in each hierarchy: systemd-nspawn divides the one that it is in."""
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

"""Commands in a cached Debian tree, without a network and without changes to the tree.

The writable layer and all mounts exist only in the command's own namespaces.
"""

import subprocess
from pathlib import Path

from ..support.debian_tree import tree
from .machine import OWN_NAMESPACES

PROGRAMS = ("chroot", "ip", "mmdebstrap", "unshare")

# $1: cached tree, $2: directory to mount on; then directories and their paths inside, each followed
# by ro or rw; after `--` the working directory and the command.
ENTER = """
tree=$1 here=$2; shift 2
mount -t tmpfs -o mode=755 chroot "$here"
mkdir "$here/upper" "$here/work" "$here/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$here/upper,workdir=$here/work" overlay "$here/root"
cd "$here/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmp tmp
while [ "$1" != -- ]; do
    mkdir -p ".$2"
    mount --bind "$1" ".$2"
    mount -o "remount,bind,$3" ".$2"
    shift 3
done
ip link set lo up
shift
exec env -i HOME=/tmp PATH=/usr/sbin:/usr/bin PYTHONDONTWRITEBYTECODE=1 \
    chroot . sh -c 'cd "$1" && shift && exec "$@"' sh "$@"
"""


class Chroot:
    """Tree of a Debian suite with some directories of this host."""

    def __init__(self, suite: str, directory: Path, **shared: tuple[Path, str]) -> None:
        self.tree = tree(suite)
        self.mount = directory / "chroot"
        self.mount.mkdir()
        self.shared = [
            word
            for name, (path, access) in shared.items()
            for word in (str(path), f"/srv/{name}", access)
        ]

    def run(self, *command: str, cwd: str = "/") -> str:
        """Run a command that must succeed, and return its output."""
        enter = [*OWN_NAMESPACES, "sh", "-euc", ENTER, "chroot", str(self.tree), str(self.mount)]
        done = subprocess.run(
            [*enter, *self.shared, "--", cwd, *command],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
        return done.stdout

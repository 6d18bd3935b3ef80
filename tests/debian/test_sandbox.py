"""Sandbox of the unit, line by line: each probe succeeds without its line and fails with it."""

import json
import re

from .host import PROGRAMS, UNIT, Host
from .selection import on_gunicorn

# Statements that a process runs as root, for each line that denies them.
PROBES = {
    "MemoryMax=512M": "b'x' * (600 << 20)",
    "TasksMax=128": "[threading.Thread(target=time.sleep, args=[1]).start() for _ in range(200)]",
    "LimitCORE=0": "assert resource.getrlimit(resource.RLIMIT_CORE) != (0, 0)",
    "NoNewPrivileges=yes": "nobody(); assert subprocess.check_output(['/srv/id', '-u']) == b'0\\n'",
    "CapabilityBoundingSet=": "os.chroot('/')",
    "ProtectSystem=strict": "open('/usr/probe', 'w')",
    "ProtectHome=yes": "open('/home/probe')",
    "PrivateTmp=yes": "open('/tmp/probe')",
    "PrivateDevices=yes": "os.mknod('/var/tmp/probe', stat.S_IFCHR, os.makedev(1, 3))",
    "PrivateUsers=yes": "assert os.stat('/srv/foreign').st_uid == 12345",
    "PrivateIPC=yes": "call('shmget', 0x5eed, 0, 0)",
    "PrivateNetwork=yes": "socket.create_connection(('127.0.0.1', 9180), timeout=3)",
    "ProtectClock=yes": "call('adjtimex', bytes(512))",
    "ProtectHostname=yes": "socket.sethostname(socket.gethostname())",
    "ProtectKernelLogs=yes": "call('klogctl', 10, None, 0)",
    "ProtectKernelModules=yes": "open('/usr/lib/modules/probe')",
    "ProtectKernelTunables=yes": "open('/proc/sys/net/ipv4/ip_default_ttl', 'r+')",
    "ProtectControlGroups=yes": "os.mkdir(GROUP); os.rmdir(GROUP)",
    "ProtectProc=invisible": "nobody(); os.listdir('/proc/1')",
    "ProcSubset=pid": "open('/proc/meminfo')",
    "ReadOnlyPaths=/run": "open('/run/probe', 'w')",
    "TemporaryFileSystem=/dev/shm:mode=1777": "open('/dev/shm/probe')",
    "ReadOnlyPaths=/dev/mqueue /dev/pts -/dev/hugepages": "open('/dev/mqueue/probe', 'w')",
    "RestrictAddressFamilies=AF_UNIX": "socket.socket(socket.AF_INET)",
    "RestrictNamespaces=yes": "call('unshare', 0x04000000)",
    "RestrictRealtime=yes": "call('sched_setscheduler', 0, 1, (ctypes.c_int * 1)(1000), wrong=errno.EINVAL)",
    "RestrictSUIDSGID=yes": "os.chmod(tempfile.mkstemp()[1], 0o4755)",
    "LockPersonality=yes": "call('personality', 8)",
    "MemoryDenyWriteExecute=yes": "mmap.mmap(-1, 4096, prot=7)",
    "SystemCallArchitectures=native": "assert filters('self') == filters(1)",
    "SystemCallFilter=@system-service": "call('ptrace', 0, 0, 0, 0)",
    "SystemCallFilter=~@privileged @resources @setuid @keyring": "os.nice(1)",
    "IPAddressDeny=any": "socket.create_connection(('127.0.0.1', 9180), timeout=3)",
}
NOT_PROBED = {
    "LimitNOFILE=8192": "is more than the default",
    "OOMPolicy=continue": "denies nothing: MemoryMax= kills only the process that exceeds it, as the probes show",
    "RemoveIPC=yes": "removes objects that go with the namespace of PrivateIPC=",
    "SystemCallErrorNumber=EPERM": "denies nothing: the process gets an error instead of a signal",
}
# Properties of Nginx's unit after a kill.
RESTARTED = {"SubState": "running", "NRestarts": "1", "RestartUSec": "1s", "LimitNOFILE": "8192"}
PREPARE = """
install -m 4755 /usr/bin/id /srv/id
mkdir -p /usr/lib/modules
touch /home/probe /tmp/probe /dev/shm/probe /usr/lib/modules/probe /srv/foreign
chown 12345 /srv/foreign
python3 -c 'import ctypes; ctypes.CDLL(None).shmget(0x5eed, 4096, 0o1666)'
"""


def successful_probes(host: Host, properties: list[str], names: list[str]) -> list[str]:
    """Return the probes that succeed in a unit with these properties."""
    unit = [
        "systemd-run",
        "--quiet",
        "--collect",
        "--wait",
        "--pipe",
        "--property=OOMPolicy=continue",
    ]
    unit += properties
    output = host.inside(*unit, "/usr/bin/python3", "/srv/probe.py", *names)
    found: list[str] = json.loads(output.splitlines()[-1])
    return found


@on_gunicorn
def test_each_sandbox_line_denies_something(installed: Host) -> None:
    """Every probe succeeds without a sandbox, and fails with its own line or with all lines.

    The lines overlap, so half of the probes also fail without their own line.
    """
    unit = (installed.machine.root / "etc/systemd/system" / UNIT).read_text()
    sandbox = unit.partition("# Resources\n")[2].partition("[Install]")[0]
    lines = re.findall("^[A-Z].*", sandbox, re.MULTILINE)
    assert sorted(lines) == sorted([*PROBES, *NOT_PROBED])
    installed.shell(PREPARE)
    (installed.machine.root / "srv/probe.py").write_text(
        (PROGRAMS / "sandbox_probe.py").read_text()
    )
    (installed.machine.root / "srv/probes.json").write_text(json.dumps(PROBES))
    assert successful_probes(installed, [], [*PROBES]) == [*PROBES]
    denied = [
        line for line in PROBES if not successful_probes(installed, [f"--property={line}"], [line])
    ]
    assert denied == [*PROBES]
    whole = [f"--property={line}" for line in lines]
    assert successful_probes(installed, ["--property=User=my-service", *whole], [*PROBES]) == []
    (process,) = installed.unit_properties("MainPID")
    limits = installed.inside("cat", f"/proc/{process}/limits")
    assert re.search(r"^Max open files +8192 +8192 ", limits, re.MULTILINE)


@on_gunicorn
def test_nginx_works_in_its_sandbox(installed: Host) -> None:
    dropin, log = "/etc/systemd/system/nginx.service.d", "/var/log/nginx/my-service.log"
    assert installed.exposure("nginx.service") > 9
    installed.shell(installed.section("A sandbox for Nginx"))
    try:
        assert installed.exposure("nginx.service") <= 2.5
        with installed.under_load("reload of Nginx in its sandbox", pause=0.02):
            installed.inside("systemctl", "reload", "nginx")
        # As logrotate does.
        installed.shell(f"mv {log} {log}.1 && kill -USR1 $(cat /run/nginx.pid) && sleep 1")
        assert installed.request("GET", "/static/app.css")[0] == 200
        assert installed.inside("wc", "-l", log).startswith("1 ")
        show = ["systemctl", "show", "nginx", *(f"--property={name}" for name in RESTARTED)]
        installed.inside("systemctl", "kill", "--signal=KILL", "nginx")
        expected = sorted(map("=".join, RESTARTED.items()))
        installed.wait_until(lambda: sorted(installed.inside(*show).split()) == expected, 10)
        (worker, *_) = installed.inside("pgrep", "--newest", "--uid", "www-data", "nginx").split()
        status = installed.inside("cat", f"/proc/{worker}/status")
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
        # The master's, because a reload ends the worker.
        master = installed.inside("cat", "/run/nginx.pid").strip()
        sandbox = ["nsenter", f"--target={master}", "--mount"]
        for directory in ("/etc", "/usr", "/opt", "/var/lib/my-service", "/root"):
            installed.inside(*sandbox, "touch", f"{directory}/probe", status=1)
        # Enabling the cache later requires only a reload of Nginx.
        cache = "/var/cache/my-service-nginx"
        path = f"proxy_cache_path {cache} keys_zone=my_service_cache:10m max_size=100m;"
        installed.shell(f"echo '{path}' >/etc/nginx/conf.d/cache.conf && systemctl reload nginx")
        write = f"setpriv --reuid=www-data --clear-groups touch {cache}/probe"
        kept = f"{' '.join(sandbox)} {write} 2>/dev/null || true; ls {cache}"
        installed.wait_until(lambda: installed.shell(kept) == "probe\n", 10)
    finally:
        installed.shell(
            f"rm -rf {dropin} {log}.1 /etc/nginx/conf.d/cache.conf"
            " && systemctl daemon-reload && systemctl restart nginx"
        )

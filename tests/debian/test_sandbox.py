"""The sandbox of the unit, line by line: what each denies is possible without it."""

import json
import re

from .host import PROGRAMS, UNIT, Host
from .selection import on_gunicorn

# What a process tries, as root. An error that is no refusal is one of its own making.
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
    "LimitNOFILE=8192": "is more than without",
    "OOMPolicy=continue": "denies nothing: what MemoryMax= kills is alone in it, as the probes show",
    "RemoveIPC=yes": "what there is to be removed goes with the namespace of PrivateIPC=",
    "SystemCallErrorNumber=EPERM": "denies nothing: the process learns of a refusal and goes on",
}
# What systemd tells of Nginx that was killed.
RESTARTED = {"SubState": "running", "NRestarts": "1", "RestartUSec": "1s", "LimitNOFILE": "8192"}
PREPARE = """
install -m 4755 /usr/bin/id /srv/id
mkdir -p /usr/lib/modules
touch /home/probe /tmp/probe /dev/shm/probe /usr/lib/modules/probe /srv/foreign
chown 12345 /srv/foreign
python3 -c 'import ctypes; ctypes.CDLL(None).shmget(0x5eed, 4096, 0o1666)'
"""


def allowed(host: Host, properties: list[str], names: list[str]) -> list[str]:
    """Return which of the probes succeed in a unit of these properties."""
    unit = [
        "systemd-run",
        "--quiet",
        "--collect",
        "--wait",
        "--pipe",
        "--property=OOMPolicy=continue",
    ]
    unit += properties
    told = host.inside(*unit, "/usr/bin/python3", "/srv/probe.py", *names)
    found: list[str] = json.loads(told.splitlines()[-1])
    return found


@on_gunicorn
def test_each_line_of_the_sandbox_denies_something(installed: Host) -> None:
    """Without any of them every probe succeeds, with its own alone it does not, nor with all.

    (With all but its own half of them do not succeed either: the lines overlap.)
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
    assert allowed(installed, [], [*PROBES]) == [*PROBES]
    denied = [line for line in PROBES if not allowed(installed, [f"--property={line}"], [line])]
    assert denied == [*PROBES]
    whole = [f"--property={line}" for line in lines]
    assert allowed(installed, ["--property=User=my-service", *whole], [*PROBES]) == []
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
        # As logrotate does it.
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
        there = ["nsenter", f"--target={worker}", "--mount"]
        for place in ("/etc", "/usr", "/opt", "/var/lib/my-service", "/root"):
            installed.inside(*there, "touch", f"{place}/probe", status=1)
        # The cache is switched on later, and Nginx only reloaded.
        cache = "/var/cache/my-service-nginx"
        path = f"proxy_cache_path {cache} keys_zone=my_service_cache:10m max_size=100m;"
        installed.shell(f"echo '{path}' >/etc/nginx/conf.d/cache.conf && systemctl reload nginx")
        write = f"setpriv --reuid=www-data --clear-groups touch {cache}/probe"
        kept = f"{' '.join(there)} {write} 2>/dev/null || true; ls {cache}"
        installed.wait_until(lambda: installed.shell(kept) == "probe\n", 10)
    finally:
        installed.shell(
            f"rm -rf {dropin} {log}.1 /etc/nginx/conf.d/cache.conf"
            " && systemctl daemon-reload && systemctl restart nginx"
        )

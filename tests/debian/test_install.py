"""First installation on a Debian host, as deploy/README.md says: install, probe, restart.

The tests of one machine build on each other: conftest.py has their order. `pytest -s` prints the
availability during each event.
"""

import json
import re

from ..support.logs import parse_log
from ..support.markdown import blocks
from .host import (
    CERTIFICATE,
    DATA,
    DOMAIN,
    FILES,
    PROGRAMS,
    SETTINGS,
    TOKENS,
    UNIT,
    UNITS,
    Host,
)
from .machine import ADDRESS
from .selection import measured, on_servers_with_http

PRIVATE = ["/tmp", "/var/tmp", "/dev/shm"]  # noqa: S108
# Nginx opens a port after `systemctl reload` has returned.
LISTENS = "for _ in $(seq 50); do ss -ltn | grep ':{port} ' && exit; sleep {pause}; done; exit 1"
# Control: the service listens on a TCP port, so that systemd does not hold its socket.
WITHOUT_SOCKET_UNIT = f"""
systemctl stop my-service.socket {UNIT}
sed '/my-service.socket/d; s/^Environment=/&BIND=127.0.0.1:8000 /; s/^Private\\(Network\\|Users\\)=.*//
     s/^RestrictAddressFamilies=.*//; s/^IPAddressDeny=.*//' {UNITS[0]} >/run/systemd/system/plain.service
sed -i.right 's/server unix:.*/server 127.0.0.1:8000 max_fails=0;/' /etc/nginx/sites-available/my-service.conf
systemctl daemon-reload
systemctl start plain.service
nginx -t -q && systemctl reload nginx
"""
WITH_SOCKET_UNIT = """
systemctl stop plain.service
rm /run/systemd/system/plain.service
mv /etc/nginx/sites-available/my-service.conf.right /etc/nginx/sites-available/my-service.conf
systemctl daemon-reload
systemctl reload nginx
"""


def plain_request(host: Host, method: str, path: str, name: str = DOMAIN) -> str:
    """Return status, Location and body of a request to port 80."""
    program = str(PROGRAMS / "plain_request.py")
    with host.machine.client("python3", program, ADDRESS, method, path, name) as client:
        return client.communicate()[0].strip()


def test_a_dry_run_changes_nothing(host: Host) -> None:
    before = host.file_listing()
    told = host.install("--dry-run", "--self-signed", "--outbound")
    assert host.file_listing() == before
    assert "my-service" not in host.inside("ls", "/run/lock")
    release = host.head_release()
    steps = [f"install {file}" for file in (*FILES, *UNITS)]
    for step in (f"build the release {release}", *steps, f"restart {UNIT}"):
        assert f"\nwould {step}\n" in told
    assert all(line.startswith("would ") for line in told.splitlines()[:-3])


def test_the_readme_installs_it(host: Host) -> None:
    """The first run. Without a certificate it ends with port 80, and the next one opens 443."""
    self_signed = host.server == "waitress"
    told = host.shell(host.section()) if not self_signed else host.install("--self-signed")
    assert host.current_release() == host.head_release()
    assert f"point /opt/my-service/current to {host.head_release()}\n" in told
    assert len(set(told.splitlines())) == len(told.splitlines())
    uses = {"API_TOKENS": "with a token for 'me'", "ADMIN_TOKEN": "for /metrics"}
    for name, use in uses.items():
        secret = host.machine.root / "etc/my-service/credentials" / name
        assert f"credentials/{name} {use}\n" in told
        assert secret.stat().st_mode & 0o777 == 0o600
        assert len(secret.read_text().strip().rpartition(":")[2]) == 64
        assert secret.read_text().strip().partition(":")[2] not in told.split()
        assert secret.read_text().strip()[-64:] not in told
    if not self_signed:
        assert "only port 80 is served" in told
        assert host.inside("sh", "-c", LISTENS.format(port=80, pause=0)) != ""
        assert host.inside("sh", "-c", LISTENS.format(port=443, pause=0.01), status=1) == ""
        (release,) = blocks(host.source, "README.md", "Deploy")
        told = host.shell(f"{release.strip()} --self-signed")
        assert f"restart {UNIT}" not in told
    assert "only port 80" not in told
    assert host.inside("sh", "-c", LISTENS.format(port=443, pause=0.1)) != ""
    for days, status in ((364, 0), (366, 1)):
        expires = ["openssl", "x509", "-in", f"/{CERTIFICATE}", "-checkend", str(days * 86400)]
        host.inside(*expires, "-noout", status=status)


def test_port_80_serves_acme_and_redirects(installed: Host) -> None:
    challenge = installed.machine.root / "var/lib/my-service-acme/.well-known/acme-challenge"
    assert challenge.parents[1].is_dir()
    challenge.mkdir(parents=True)
    (challenge / "token").write_text("proof")
    path = "/.well-known/acme-challenge/token"
    # The workers of before answer a little longer.
    told = [plain_request(installed, "GET", path) for _ in range(20)]
    assert told[-1] == "200 None proof", told
    assert plain_request(installed, "GET", "/a?b=c").startswith(f"308 https://{DOMAIN}/a?b=c ")
    assert plain_request(installed, "POST", "/a").startswith("403 None ")


def test_a_second_run_changes_nothing(installed: Host) -> None:
    """Nor does one of the release's own."""
    before, started = installed.file_listing(), installed.unit_properties("MainPID", "NRestarts")
    told = installed.install()
    assert installed.install(tree="/opt/my-service/current") == told
    assert installed.file_listing() == before
    assert installed.unit_properties("MainPID", "NRestarts") == started
    assert told.splitlines() == [
        "Nginx's default site serves all other host names on port 80; remove it to reject them",
        f"my-service: release {installed.head_release()}",
    ]


def test_strangers_are_told_nothing(installed: Host) -> None:
    """Over TLS at once; in the clear as soon as Debian's page of welcome has been taken away."""
    stranger = (
        f"--insecure --connect-to stranger.example:443:{ADDRESS}:443 https://stranger.example"
    )
    command = f"curl --silent --show-error {stranger} 2>&1 || true"
    told, _ = installed.machine.client("sh", "-c", command).communicate()
    assert "unrecognized name" in told
    installed.inside("rm", "/etc/nginx/sites-enabled/default")
    assert "install /etc/nginx/snippets/my-service-default-80.conf" in installed.install()
    installed.wait_until(lambda: plain_request(installed, "GET", "/", "stranger.example") == "", 20)
    assert plain_request(installed, "GET", "/").startswith("308 ")


def test_what_is_installed_is_right(installed: Host) -> None:
    assert installed.unit_properties("ActiveState", "NRestarts") == ["active", "0"]
    assert installed.inside("systemctl", "is-enabled", "my-service.socket", UNIT) == "enabled\n" * 2
    assert installed.inside("systemd-analyze", "verify", *UNITS) == ""
    assert "[warn]" not in installed.inside("nginx", "-t")
    assert installed.machine.state() == "running"
    places = "/opt/my-service", "/etc/my-service"
    assert installed.inside("find", *places, "-user", "my-service") == ""
    assert installed.inside("find", *places, "-perm", "/022", "-not", "-type", "l") == ""
    private = "/etc/my-service/credentials", "/etc/my-service/tls"
    assert installed.inside("stat", "--format=%a", *private) == "700\n" * 2
    assert installed.inside("find", *private, "-perm", "/077") == ""
    modes = installed.inside("stat", "--format=%a", *UNITS, *FILES, f"/{SETTINGS}")
    assert set(modes.split()) == {"644"}
    assert installed.inside("find", "/opt/my-service/current/src", "-name", "*.pyc") != ""
    # Who may ask the service itself, and what others of its user's processes see of its secrets.
    connect = (PROGRAMS / "connect.py").read_text()
    for user, status in (("www-data", 0), ("nobody", 1)):
        installed.inside("runuser", "-u", user, "--", "python3", "-c", connect, status=status)
    (process,) = installed.unit_properties("MainPID")
    secret = installed.inside("cat", TOKENS).strip().partition(":")[2]
    assert secret not in installed.inside("cat", f"/proc/{process}/environ")
    lines = [line for line in parse_log(installed.journal()) if "url.path" in line]
    assert {line["service.version"] for line in lines} == {installed.current_release()}
    assert "SYSLOG_IDENTIFIER=my-service\n" in installed.inside(
        "journalctl", f"--unit={UNIT}", "_TRANSPORT=stdout", "--output=export", "--lines=1"
    )


def test_it_answers(installed: Host) -> None:
    for path in ("/livez", "/readyz", "/", "/static/app.css"):
        assert installed.request("GET", path)[0] == 200
    assert installed.machine.http_version(DOMAIN, installed.certificate) == "2"
    for address in ("127.0.0.1", "[::1]"):
        there = f"--resolve {DOMAIN}:443:{address} --cacert /{CERTIFICATE}"
        assert installed.shell(f"curl --silent {there} https://{DOMAIN}/livez") == '{"status":"ok"}'
    curve = "X25519MLKEM768" if installed.machine.suite == "trixie" else "X25519"
    hello = f"openssl s_client -connect 127.0.0.1:443 -servername {DOMAIN} -groups {curve}"
    assert "TLSv1.3" in installed.shell(f"{hello} </dev/null")
    status, text = installed.request("POST", "/api/v1/notes", '{"title": "first", "body": "words"}')
    assert status == 201
    note = json.loads(text)
    assert note["body"] == "words"
    assert installed.request("GET", f"/api/v1/notes/{note['id']}") == (200, text)


def test_its_sandbox_holds(installed: Host) -> None:
    assert installed.exposure() <= 0.4
    (process,) = installed.unit_properties("MainPID")
    status = installed.inside("cat", f"/proc/{process}/status")
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    there = ["nsenter", f"--target={process}", "--mount"]
    # Even root could not write elsewhere where the service is.
    directories = ["find", "/", "-path", "/proc", "-prune", "-o", "-type", "d"]
    writable = installed.inside(*there, *directories, "-writable", "-print", "-prune").split()
    assert sorted(writable) == sorted([*PRIVATE, DATA])
    identity = ["stat", "--format=%d:%i", *PRIVATE]
    outside, within = (installed.inside(*at, *identity).split() for at in ([], there))
    assert all(one != other for one, other in zip(outside, within, strict=True))


@measured
def test_restarts_lose_no_request(installed: Host) -> None:
    with installed.under_load("restart, three times", least=1000, pause=0):
        for _ in range(3):
            installed.inside("systemctl", "restart", UNIT)
    with installed.under_load("reload of Nginx, three times", pause=0.02):
        for _ in range(3):
            installed.inside("systemctl", "reload", "nginx")


@on_servers_with_http
@measured
def test_without_the_socket_unit_requests_are_lost(installed: Host) -> None:
    """The load can fail: the same events of the same service where nothing holds its socket."""
    installed.shell(WITHOUT_SOCKET_UNIT)
    master = "$(systemctl show --property=MainPID --value plain.service)"
    try:
        for event in ("systemctl restart plain.service", f"kill -9 {master} && sleep 2"):
            name = f"{event.partition(' $')[0]}, without a socket unit (control)"
            with installed.load(name, pause=0.02) as outcome:
                installed.shell(event)
            # A kill may also cut off an answer that has begun.
            begun = "GET IncompleteRead" if "kill" in event else "none"
            failed = {kind for kind in outcome["failed"] if not kind.startswith(begun)}
            assert failed == {f"{method} 502" for method in ("GET", "POST")}
    finally:
        installed.shell(WITH_SOCKET_UNIT)
        installed.start()


def test_it_stops_and_leaves_a_clean_journal(installed: Host) -> None:
    # The socket with it: a request that comes meanwhile would start it again.
    installed.inside("systemctl", "stop", "my-service.socket", UNIT)
    assert installed.unit_properties("ActiveState", "Result", "ExecMainStatus") == [
        "inactive",
        "success",
        "0",
    ]
    levels = {line["log.level"] for line in parse_log(installed.journal())}
    assert "info" in levels
    assert not levels & {"error", "critical"}
    assert "Suppressed" not in installed.inside(
        "journalctl", "--unit=systemd-journald", "--no-pager"
    )


def test_a_missing_certificate_is_told(installed: Host) -> None:
    """The way out of 443 without a certificate is a message, not a broken Nginx."""
    installed.inside("mv", f"/{CERTIFICATE}", "/srv/")
    assert "configuration is invalid" in installed.install(status=1)
    installed.inside("mv", "/srv/fullchain.pem", f"/{CERTIFICATE}")

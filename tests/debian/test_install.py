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


def test_dry_run_changes_nothing(host: Host) -> None:
    before = host.file_listing()
    output = host.install("--dry-run", "--self-signed", "--outbound")
    assert host.file_listing() == before
    assert "my-service" not in host.inside("ls", "/run/lock")
    release = host.head_release()
    steps = [f"install {file}" for file in (*FILES, *UNITS)]
    for step in (f"build the release {release}", *steps, f"restart {UNIT}"):
        assert f"\nwould {step}\n" in output
    assert all(line.startswith("would ") for line in output.splitlines()[:-3])
    last = f"nothing was changed; without --dry-run, this installs release {release}"
    assert output.splitlines()[-1] == last


def test_readme_installs_the_service(host: Host) -> None:
    """Without a certificate, the first run opens port 80 only; the next run opens 443."""
    self_signed = host.server == "waitress"
    output = host.shell(host.section()) if not self_signed else host.install("--self-signed")
    assert host.current_release() == host.head_release()
    assert f"point /opt/my-service/current to {host.head_release()}\n" in output
    assert len(set(output.splitlines())) == len(output.splitlines())
    uses = {"API_TOKENS": "with a token for 'me'", "ADMIN_TOKEN": "for /metrics"}
    for name, use in uses.items():
        secret = host.machine.root / "etc/my-service/credentials" / name
        assert f"credentials/{name} {use}\n" in output
        assert secret.stat().st_mode & 0o777 == 0o600
        assert len(secret.read_text().strip().rpartition(":")[2]) == 64
        assert secret.read_text().strip().partition(":")[2] not in output.split()
        assert secret.read_text().strip()[-64:] not in output
    if not self_signed:
        assert "only port 80 is served" in output
        assert host.inside("sh", "-c", LISTENS.format(port=80, pause=0)) != ""
        assert host.inside("sh", "-c", LISTENS.format(port=443, pause=0.01), status=1) == ""
        (release,) = blocks(host.source, "README.md", "Deploy")
        output = host.shell(f"{release.strip()} --self-signed")
        assert f"restart {UNIT}" not in output
    assert "only port 80" not in output
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
    # After a reload, Nginx's old workers serve a little longer.
    responses = [plain_request(installed, "GET", path) for _ in range(20)]
    assert responses[-1] == "200 None proof", responses
    assert plain_request(installed, "GET", "/a?b=c").startswith(f"308 https://{DOMAIN}/a?b=c ")
    assert plain_request(installed, "POST", "/a").startswith("403 None ")


def test_second_run_changes_nothing(installed: Host) -> None:
    """Neither does a run of the installed release's own install.sh."""
    before, started = installed.file_listing(), installed.unit_properties("MainPID", "NRestarts")
    output = installed.install()
    assert installed.install(tree="/opt/my-service/current") == output
    assert installed.file_listing() == before
    assert installed.unit_properties("MainPID", "NRestarts") == started
    assert output.splitlines() == [
        "Nginx's default site serves all other host names on port 80; remove it to reject them",
        f"my-service: release {installed.head_release()}",
    ]


def test_unknown_names_get_no_response(installed: Host) -> None:
    """On port 80 this holds after the removal of Debian's default site."""
    stranger = (
        f"--insecure --connect-to stranger.example:443:{ADDRESS}:443 https://stranger.example"
    )
    command = f"curl --silent --show-error {stranger} 2>&1 || true"
    output, _ = installed.machine.client("sh", "-c", command).communicate()
    assert "unrecognized name" in output
    installed.inside("rm", "/etc/nginx/sites-enabled/default")
    assert "install /etc/nginx/snippets/my-service-default-80.conf" in installed.install()
    installed.wait_until(lambda: plain_request(installed, "GET", "/", "stranger.example") == "", 20)
    assert plain_request(installed, "GET", "/").startswith("308 ")


def test_installed_files_and_processes_are_right(installed: Host) -> None:
    assert installed.unit_properties("ActiveState", "NRestarts") == ["active", "0"]
    assert installed.inside("systemctl", "is-enabled", "my-service.socket", UNIT) == "enabled\n" * 2
    assert installed.inside("systemd-analyze", "verify", *UNITS) == ""
    assert "[warn]" not in installed.inside("nginx", "-t")
    assert installed.machine.state() == "running"
    directories = "/opt/my-service", "/etc/my-service"
    assert installed.inside("find", *directories, "-user", "my-service") == ""
    assert installed.inside("find", *directories, "-perm", "/022", "-not", "-type", "l") == ""
    private = "/etc/my-service/credentials", "/etc/my-service/tls"
    assert installed.inside("stat", "--format=%a", *private) == "700\n" * 2
    assert installed.inside("find", *private, "-perm", "/077") == ""
    modes = installed.inside("stat", "--format=%a", *UNITS, *FILES, f"/{SETTINGS}")
    assert set(modes.split()) == {"644"}
    assert installed.inside("find", "/opt/my-service/current/src", "-name", "*.pyc") != ""
    # Only Nginx may connect to the service, and its environment has no secrets.
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


def test_service_responds(installed: Host) -> None:
    for path in ("/livez", "/readyz", "/", "/static/app.css"):
        assert installed.request("GET", path)[0] == 200
    assert installed.machine.http_version(DOMAIN, installed.certificate) == "2"
    for address in ("127.0.0.1", "[::1]"):
        site = f"--resolve {DOMAIN}:443:{address} --cacert /{CERTIFICATE}"
        assert installed.shell(f"curl --silent {site} https://{DOMAIN}/livez") == '{"status":"ok"}'
    curve = "X25519MLKEM768" if installed.machine.suite == "trixie" else "X25519"
    hello = f"openssl s_client -connect 127.0.0.1:443 -servername {DOMAIN} -groups {curve}"
    assert "TLSv1.3" in installed.shell(f"{hello} </dev/null")
    status, text = installed.request("POST", "/api/v1/notes", '{"title": "first", "body": "words"}')
    assert status == 201
    note = json.loads(text)
    assert note["body"] == "words"
    assert installed.request("GET", f"/api/v1/notes/{note['id']}") == (200, text)


def test_service_is_sandboxed(installed: Host) -> None:
    assert installed.exposure() <= 0.4
    (process,) = installed.unit_properties("MainPID")
    status = installed.inside("cat", f"/proc/{process}/status")
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    sandbox = ["nsenter", f"--target={process}", "--mount"]
    # In the service's mount namespace, not even root can write elsewhere.
    directories = ["find", "/", "-path", "/proc", "-prune", "-o", "-type", "d"]
    writable = installed.inside(*sandbox, *directories, "-writable", "-print", "-prune").split()
    assert sorted(writable) == sorted([*PRIVATE, DATA])
    identity = ["stat", "--format=%d:%i", *PRIVATE]
    outside, within = (installed.inside(*prefix, *identity).split() for prefix in ([], sandbox))
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
def test_missing_socket_unit_loses_requests(installed: Host) -> None:
    """Control of the load generator: without the socket unit, the same events lose requests."""
    installed.shell(WITHOUT_SOCKET_UNIT)
    master = "$(systemctl show --property=MainPID --value plain.service)"
    try:
        for event in ("systemctl restart plain.service", f"kill -9 {master} && sleep 2"):
            name = f"{event.partition(' $')[0]}, without a socket unit (control)"
            with installed.load(name, pause=0.02) as outcome:
                installed.shell(event)
            # A kill may also interrupt a response.
            interrupted = "GET IncompleteRead" if "kill" in event else "none"
            failed = {kind for kind in outcome["failed"] if not kind.startswith(interrupted)}
            assert failed == {f"{method} 502" for method in ("GET", "POST")}
    finally:
        installed.shell(WITH_SOCKET_UNIT)
        installed.start()


def test_stop_leaves_a_clean_journal(installed: Host) -> None:
    # With the socket, because a request would start the service again.
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


def test_missing_certificate_is_reported(installed: Host) -> None:
    """install.sh reports a missing certificate and does not break Nginx."""
    installed.inside("mv", f"/{CERTIFICATE}", "/srv/")
    assert "configuration is invalid" in installed.install(status=1)
    installed.inside("mv", "/srv/fullchain.pem", f"/{CERTIFICATE}")

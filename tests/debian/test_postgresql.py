"""The service with Debian's PostgreSQL on one host, as deploy/README.md and docs/how-to say.

The tests build on each other, in their order.
"""

import re
import shlex
import time
from collections.abc import Iterator

import pytest

from ..support.fixtures import Generate
from ..support.logs import parse_log
from ..support.markdown import blocks
from .host import BACKUPS, COMMIT, UNIT, PostgresqlHost
from .machine import Booted

MIGRATION = '''\
"""A column that the previous release ignores."""

import sqlalchemy as sa
from alembic import op

revision = "0002_colour"
down_revision = "0001_notes"


def upgrade() -> None:
    op.add_column("notes", sa.Column("colour", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("notes", "colour")
'''
TIMER = "my-service-backup.timer"
BACKUP = "my-service@backup.service"
OUTAGE = 6.0
EVENTS = [
    "systemctl restart postgresql",
    # Otherwise pg_ctlcluster lets systemd stop the server, which is never immediate.
    "pg_ctlcluster --skip-systemctl-redirect 17 main stop -m immediate; pg_ctlcluster 17 main start",
    # The server ends all sessions, because the shared memory may be damaged, and recovers.
    "kill -9 $(pgrep --full '^postgres: 17/main: my-service' | head -n 1)",
    "systemctl stop postgresql; sleep 3; systemctl start postgresql",
]
LOG = "/var/log/postgresql/postgresql-17-main.log"
LOGGED = ("received fast shutdown", "received immediate shutdown", "was terminated by signal 9")
# The next start of PostgreSQL takes longer than that of a command.
SLOW_START = """
systemctl stop postgresql
mkdir /run/systemd/system/postgresql@17-main.service.d
printf '[Service]\\nExecStartPre=sleep 2\\n' >/run/systemd/system/postgresql@17-main.service.d/slow.conf
systemctl daemon-reload
"""
# The roles of the service's connections, and whether they are encrypted.
CONNECTIONS = """
    SELECT DISTINCT usename, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
    WHERE application_name = 'my-service'
"""
CHECK = (
    "cd /opt/my-service/current && runuser -u my-service -- env API_TOKENS=me:$(openssl rand -hex 32) "
    "DATABASE_URL={} .venv/bin/python -m my_service check"
)
# A certificate authority of the test's own, and one that has signed nothing; the server's certificate.
CERTIFICATES = """
for name in right wrong; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$name" -keyout /srv/$name.key -out /srv/$name.crt
done
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout /etc/postgresql/server.key -out /srv/server.csr
openssl x509 -req -in /srv/server.csr -CA /srv/right.crt -CAkey /srv/right.key -days 2 \\
    -extfile <(echo subjectAltName=DNS:localhost) -out /etc/postgresql/server.crt
chown postgres /etc/postgresql/server.key
"""
SERVER = [
    "ALTER SYSTEM SET ssl_cert_file = '/etc/postgresql/server.crt'",
    "ALTER SYSTEM SET ssl_key_file = '/etc/postgresql/server.key'",
    "ALTER ROLE \"my-service\" PASSWORD 'p@ss/word'",
    "SELECT pg_reload_conf()",
]


@pytest.fixture(scope="module")
def host(generated: Generate, booted: Booted) -> Iterator[PostgresqlHost]:
    """Return a machine with the project and PostgreSQL; the first test installs the service."""
    with booted("trixie", "postgresql") as (machine, directory):
        host = PostgresqlHost(
            machine, generated(database="postgresql"), directory, "gunicorn, PostgreSQL"
        )
        # install.sh watches a release for 3 s, during its trial and after its start. 1 s saves 16 s here.
        sooner = "sed -i 's/for _ in 1 2 3; do/for _ in 1; do/' deploy/install.sh"
        host.shell(f"{sooner} && {COMMIT} sooner")
        # As the installation of the package leaves it.
        host.inside("systemctl", "enable", "--now", "postgresql")
        yield host
        print(host.availability_table())


def wait_until_ready(host: PostgresqlHost, seconds: float = 5) -> None:
    host.wait_until(lambda: host.request("GET", "/readyz")[0] == 200, seconds)


def test_readme_installs_the_service(host: PostgresqlHost) -> None:
    output = host.shell(f"{host.section().strip()} --self-signed")
    assert f"point /opt/my-service/current to {host.head_release()}\n" in output
    assert host.request("POST", "/api/v1/notes", '{"title": "first"}')[0] == 201
    assert host.titles("%") == ["first"]
    # By peer authentication, in the same sandbox as without PostgreSQL.
    assert host.query(CONNECTIONS) == "my-service|f\n"
    assert host.exposure() <= 0.4


def test_releases_and_killed_processes_lose_no_note(host: PostgresqlHost) -> None:
    first = host.current_release()
    versions = host.project / "src/my_service/migrations/versions"
    (versions / "0002_colour.py").write_text(MIGRATION)
    host.shell(f"{COMMIT} 'A colour'")
    with host.under_load("restart, reload, release, roll-back, kill -9", killed=8) as kills:
        host.inside("systemctl", "restart", UNIT)
        old = host.workers()
        host.inside("systemctl", "reload", UNIT)
        host.wait_until(lambda: host.workers() and not host.workers() & old, 20)
        kills.append(host.kill(max(host.workers(), key=int)))
        time.sleep(1)
        kills.append(host.kill(host.process()))
        output = host.shell(host.section("Each release"))
        host.shell(host.section("Roll back").replace(" ID", f" {first}"))
    assert host.current_release() == first
    assert host.query("SELECT version_num FROM alembic_version", "my-service") == "0002_colour\n"
    # The backup is of the tables before the migration.
    (backup,) = re.findall(r"my-service: backup (\S+) \(\d+ bytes\)", output)
    assert re.fullmatch(rf"{BACKUPS}/my-service-\w+-0001_notes\.dump", backup)


def test_failures_of_the_server_lose_no_note(host: PostgresqlHost) -> None:
    """Each refused request is a 503 that names when to repeat it, and the service needs no restart."""
    before = host.unit_properties("MainPID", "NRestarts")
    began = len(host.journal())
    with host.load("failures of PostgreSQL") as outcome:
        for commands in EVENTS:
            host.shell(commands)
            wait_until_ready(host)
            time.sleep(0.5)
        for event in LOGGED:
            host.inside("grep", "--quiet", event, LOG)
        # systemctl would start PostgreSQL again with the service, whose unit wants it.
        host.inside("pg_ctlcluster", "17", "main", "stop")
        ends = time.monotonic() + OUTAGE
        while time.monotonic() < ends:
            assert [host.request("GET", path)[0] for path in ("/readyz", "/livez")] == [503, 200]
            time.sleep(1)
        assert host.unit_properties("MainPID", "NRestarts") == before
        # A service that starts before its database recovers, too.
        host.inside("systemctl", "restart", UNIT)
        started = host.unit_properties("ActiveState", "MainPID")
        assert [host.request("GET", path)[0] for path in ("/readyz", "/livez")] == [503, 200]
        host.inside("pg_ctlcluster", "17", "main", "start")
        wait_until_ready(host)
        time.sleep(0.5)
    assert host.unit_properties("ActiveState", "MainPID") == started
    assert started[0] == "active"
    refused = {"GET 503 Retry-After 1", "POST 503 Retry-After 1"}
    assert set(outcome["failed"]) == refused, outcome["responses"]
    host.check_notes(outcome)
    records = parse_log(host.journal()[began:])
    assert not [record for record in records if "error.stack_trace" in record]
    # Each refusal has one line for an operator, with the reason.
    reasons = [line["message"] for line in records if "is not available" in line["message"]]
    assert len(reasons) >= len(outcome["failed"])
    assert any("No such file or directory" in line for line in reasons), set(reasons)
    (warning,) = (line["message"] for line in records if "will not be ready" in line["message"])
    assert '/.s.PGSQL.5432" failed: ' in warning


def test_connection_is_encrypted_and_verified(host: PostgresqlHost) -> None:
    """Over TCP to a server with an authority of its own, as docs/how-to/postgresql.md says."""
    host.shell(CERTIFICATES)
    for statement in SERVER:
        host.query(statement)
    (commands,) = blocks(host.source, "docs/how-to/postgresql.md", "On another host", "bash")
    (_, text) = blocks(host.source, "docs/how-to/postgresql.md", "On another host", "text")
    url = text.strip().removeprefix("DATABASE_URL=").replace("db.example.com", "localhost")
    url = re.sub("sslrootcert=.*", "sslrootcert=/etc/my-service/database-ca.crt", url)
    url = url.replace("PASSWORD", "p%40ss%2Fword")
    (host.machine.root / "srv/url").write_text(f"{url}\n")
    host.shell("cp /srv/right.crt ca.crt && echo ca.crt >>.git/info/exclude")
    host.shell(commands.replace("/dev/stdin", "/srv/url"))
    wait_until_ready(host)
    assert host.query(CONNECTIONS) == "my-service|t\n"
    host.inside("systemctl", "start", BACKUP)
    host.inside("cp", "/srv/wrong.crt", "/etc/my-service/database-ca.crt")
    host.inside("systemctl", "restart", UNIT)
    status, body = host.request("GET", "/readyz")
    assert (status, "certificate" in body) == (503, False)
    advice = "certificate verify failed; `sslrootcert` must be the certificate of the authority"
    lines = [line["message"] for line in parse_log(host.journal(40))]
    for start in ("DATABASE_URL: does not respond", "request failed: "):
        assert any(line.startswith(start) and advice in line for line in lines), lines
    assert not any("p@ss" in line or "p%40" in line for line in lines)
    for other, advice in {
        url.partition("&")[0]: 'root.crt" does not exist; add `sslrootcert=FILE` to the URL',
        "postgresql://postgres@/my-service": "the role in the URL must be the user of the process",
    }.items():
        assert advice in host.shell(CHECK.format(shlex.quote(other)))


def test_runbook_shows_the_space_of_the_database(host: PostgresqlHost) -> None:
    output = host.shell("".join(blocks(host.source, "docs/runbook.md", "A full disk")))
    assert re.search(r"\t/var/lib/postgresql/17/main/pg_wal\n", output)
    assert re.search(r"^failed_count +\| 0$", output, re.MULTILINE)
    assert host.inside("zgrep", "--count", "my-service", "/run/my-service-journal.gz") != "0\n"


def test_backup_can_be_restored(host: PostgresqlHost) -> None:
    """At boot, the timer's backup of a host that was off at night waits for the database."""
    # With the URL of the secret, whose authority is wrong since the test of the connection.
    _, restore, _ = blocks(host.source, "deploy/README.md", "Backup")
    backup = host.inside("ls", BACKUPS).split()[-1]
    command = re.sub(r"BACKUP\.\w+", backup, restore.partition("\n")[2])
    assert "SSL error: certificate verify failed" in host.shell(command, status=1)
    # By peer authentication again. A start of the service starts its database, too.
    host.inside("rm", "-f", "/etc/my-service/credentials/DATABASE_URL")
    host.shell(SLOW_START)
    host.inside("systemctl", "restart", "--no-block", UNIT)
    host.inside("systemctl", "start", BACKUP)
    wait_until_ready(host)
    assert host.exposure(BACKUP) <= host.exposure() + 0.1
    timer = host.inside("systemctl", "show", "--property=ActiveState,Unit", TIMER)
    assert set(timer.split()) == {"ActiveState=active", f"Unit={BACKUP}"}
    host.check_backup_and_restore("0002_colour")

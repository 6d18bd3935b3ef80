"""The service with Debian's PostgreSQL on one host, as deploy/README.md and docs/how-to say.

The tests build on each other: a release that migrates, the database's failures, TLS, a restore.
"""

import json
import re
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
PAGE = "docs/how-to/postgresql.md"
OUTAGE = 15.0
EVENTS = {
    "restart": "systemctl restart postgresql",
    "immediate stop": "pg_ctlcluster 17 main stop -m immediate; pg_ctlcluster 17 main start",
    # The server ends all sessions, because the shared memory may be damaged, and recovers.
    "kill -9 of a backend": "kill -9 $(pgrep --full 'postgres: 17/main: my-service' | head -n 1)",
    "3 s stopped": "systemctl stop postgresql; sleep 3; systemctl start postgresql",
}
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
        # As the installation of the package leaves it.
        host.inside("systemctl", "enable", "--now", "postgresql")
        yield host
        print(host.availability_table())


def wait_until_ready(host: PostgresqlHost, seconds: float = 5) -> None:
    host.wait_until(lambda: host.request("GET", "/readyz")[0] == 200, seconds)


def test_readme_installs_the_service(host: PostgresqlHost) -> None:
    output = host.shell(host.section())
    assert f"point /opt/my-service/current to {host.head_release()}\n" in output
    assert "--self-signed" not in output
    host.install("--self-signed")
    assert host.request("POST", "/api/v1/notes", '{"title": "first"}')[0] == 201
    assert host.titles("%") == ["first"]
    # The sandbox is the same as without PostgreSQL.
    assert host.exposure() <= 0.4
    (process,) = host.unit_properties("MainPID")
    owners = "SELECT DISTINCT usename, application_name FROM pg_stat_activity WHERE datname = 'my-service'"
    assert host.query(owners) == "my-service|my-service\n"


def test_release_with_a_migration_and_killed_processes_lose_no_note(host: PostgresqlHost) -> None:
    first = host.current_release()
    versions = host.project / "src/my_service/migrations/versions"
    (versions / "0002_colour.py").write_text(MIGRATION)
    host.shell(f"{COMMIT} 'A colour'")
    with host.under_load("restart, reload, release with a migration, roll-back"):
        host.inside("systemctl", "restart", UNIT)
        host.inside("systemctl", "reload", UNIT)
        output = host.shell(host.section("Each release"))
        host.shell(host.section("Roll back").replace(" ID", f" {first}"))
    (backup,) = re.findall(r"my-service: backup (\S+) \(\d+ bytes\)", output)
    assert re.fullmatch(rf"{BACKUPS}/my-service-\w+-0001_notes\.dump", backup)
    version = "SELECT version_num FROM alembic_version"
    assert host.query(version, "my-service") == "0002_colour\n"
    assert host.current_release() == first
    with host.under_load("kill -9 of a worker, then of the master", killed=8) as kills:
        kills.append(host.kill(min(host.workers(), key=int)))
        time.sleep(1)
        host.kill(host.process())
        time.sleep(1)


def test_failures_of_the_server_lose_no_note(host: PostgresqlHost) -> None:
    """Each refused request is a 503 that names when to repeat it, in a service that runs on."""
    before = host.unit_properties("MainPID", "NRestarts")
    began = len(host.journal())
    with host.load("failures of PostgreSQL") as outcome:
        for event, commands in EVENTS.items():
            host.shell(commands)
            wait_until_ready(host)
            time.sleep(0.5)
        host.inside("systemctl", "stop", "postgresql")
        ends = time.monotonic() + OUTAGE
        while time.monotonic() < ends:
            assert host.request("GET", "/readyz")[0] == 503
            assert host.request("GET", "/livez")[0] == 200
            time.sleep(1)
        host.inside("systemctl", "start", "postgresql")
        wait_until_ready(host)
        time.sleep(0.5)
    refused = {"GET 503 Retry-After 1", "POST 503 Retry-After 1"}
    assert set(outcome["failed"]) == refused, outcome["responses"]
    host.check_notes(outcome)
    assert host.unit_properties("MainPID", "NRestarts") == before
    records = parse_log(host.journal()[began:])
    assert not [record for record in records if record["log.level"] in ("error", "critical")]
    assert not [record for record in records if "error.stack_trace" in record]
    # Each names the reason, for an operator.
    reasons = [record["message"] for record in records if "not available" in record["message"]]
    assert len(reasons) >= len(outcome["failed"])
    assert any("No such file or directory" in reason for reason in reasons), reasons[-5:]


def test_service_starts_before_its_database(host: PostgresqlHost) -> None:
    # systemctl would start PostgreSQL with the service, because the unit wants it.
    host.inside("pg_ctlcluster", "17", "main", "stop")
    host.inside("systemctl", "restart", UNIT)
    before = host.unit_properties("ActiveState", "MainPID", "NRestarts")
    assert before[0] == "active"
    assert [host.request("GET", path)[0] for path in ("/readyz", "/livez")] == [503, 200]
    assert host.request("POST", "/api/v1/notes", '{"title": "early"}')[0] == 503
    (warning,) = (line for line in host.journal(40) if "will not be ready" in line)
    assert "/.s.PGSQL.5432" in json.loads(warning)["message"]
    host.inside("pg_ctlcluster", "17", "main", "start")
    wait_until_ready(host)
    assert host.request("POST", "/api/v1/notes", '{"title": "later"}')[0] == 201
    assert host.unit_properties("ActiveState", "MainPID", "NRestarts") == before
    assert host.titles("early") == []


def test_connection_is_encrypted_and_verified(host: PostgresqlHost) -> None:
    """Over TCP, with --outbound, as docs/how-to/postgresql.md says; then by peer again."""
    host.shell(CERTIFICATES)
    for statement in SERVER:
        host.query(statement)
    (commands,) = blocks(host.source, PAGE, "On another host", "bash")
    (_, text) = blocks(host.source, PAGE, "On another host", "text")
    url = text.strip().removeprefix("DATABASE_URL=")
    url = url.replace("PASSWORD", "p%40ss%2Fword").replace("db.example.com", "localhost")
    url = re.sub("sslrootcert=.*", "sslrootcert=/etc/my-service/database-ca.crt", url)
    host.shell("cp /srv/right.crt ca.crt && echo ca.crt >>.git/info/exclude")
    (host.machine.root / "srv/url").write_text(f"{url}\n")
    host.shell(commands.replace("/dev/stdin", "/srv/url"))
    wait_until_ready(host)
    encrypted = """
        SELECT DISTINCT ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'my-service'
    """
    assert host.query(encrypted) == "t|TLSv1.3\n"
    host.inside("systemctl", "start", "my-service@backup.service")
    host.shell(f"cp /srv/wrong.crt /etc/my-service/database-ca.crt; systemctl restart {UNIT}")
    assert host.request("GET", "/readyz")[0] == 503
    (warning,) = (line for line in host.journal(40) if "will not be ready" in line)
    message = json.loads(warning)["message"]
    assert "certificate verify failed; " in message
    assert "sslrootcert" in message
    assert "p@ss" not in message
    assert "p%40" not in message
    host.inside("rm", "/etc/my-service/credentials/DATABASE_URL")
    host.install("--no-outbound")
    wait_until_ready(host)


def test_backup_can_be_restored(host: PostgresqlHost) -> None:
    assert host.exposure("my-service@backup.service") <= host.exposure() + 0.1
    timer = ["systemctl", "show", "--property=ActiveState,Unit", "my-service-backup.timer"]
    assert set(host.inside(*timer).split()) == {
        "ActiveState=active",
        "Unit=my-service@backup.service",
    }
    host.install()  # the release that knows the revision of the tables
    host.check_backup_and_restore("0002_colour")

"""docs/how-to/point-in-time.md: its commands, with Debian's programs on directories of the test."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

from ..support.fixtures import Generate, Needs
from ..support.markdown import blocks
from ..support.postgresql import PROGRAMS
from .steps import DIRECTORY, follow

# The host's directories, which the commands change.
MOUNTED = (
    *("/etc/cron.weekly", "/etc/postgresql", "/run/postgresql", "/srv"),
    *("/var/lib/postgresql", "/var/log/postgresql"),
)
MOMENT = "2026-11-30 09:59:00+00"
COPY = "/srv/archive/base/20261129T030000Z"
BEGIN = """
for path in {mounted}; do
    mkdir -p $path "{directory}$path"
    chown postgres:postgres "{directory}$path"
    mount --bind "{directory}$path" $path
done
trap 'pg_ctlcluster 15 main stop -m immediate; pg_ctlcluster 15 restored stop -m immediate || true' EXIT
settings="{directory}/createcluster.conf"
printf '%s\n' "initdb_options = '--no-sync --locale=C.UTF-8'" 'fsync = off' > "$settings"
mount --bind "$settings" /etc/postgresql-common/createcluster.conf
pg_createcluster 15 main
sed -i '1i local all my-service trust' /etc/postgresql/15/main/pg_hba.conf
pg_ctlcluster 15 main start
runuser -u postgres -- createuser my-service
runuser -u postgres -- createdb --owner=my-service my-service
service() {{ (cd "{project}" && "{python}" -m my_service "$1"); }}
insert() {{ query "INSERT INTO notes (title, body, created_at, updated_at) VALUES ('$1', '', now(), now())"; }}
query() {{ runuser -u postgres -- psql -At my-service -c "$1"; }}
service migrate
"""
MISTAKE = """
insert wanted
moment=$(query 'SELECT clock_timestamp()')
query 'DELETE FROM notes'
copy=$(ls -d /srv/archive/base/*)
"""
# The commands of the restore cannot create their cluster: no such version is installed, or it exists.
FAIL = """
mkdir /srv/kept
touch /srv/kept/file
for commands in "$WITHOUT_VERSION" "$RESTORE"; do
    (cd /srv/kept && sh -c "$commands" 2>&1) || true
    test -e /srv/kept/file
done
test "$(runuser -u postgres -- psql --port "$port" -Atc 'SELECT pg_is_in_recovery()')" = f
"""
CHECK = """
query 'SELECT count(*) FROM notes' | grep -x 0
test "$(runuser -u postgres -- psql -At my-service-restored -c 'SELECT title FROM notes ORDER BY id')" = "before
wanted"
DATABASE_URL=postgresql://my-service@/my-service-restored service check
test "$(pg_lsclusters -h | wc -l)" = 1
"""


def test_note_that_was_deleted_after_a_base_backup_is_restored(
    generated: Generate, needs: Needs, copied: Generate, tmp_path: Path
) -> None:
    needs("pg_createcluster", "runuser", "unshare")
    needs(also=os.getuid() == 0, reason="only root can mount directories of the test")
    project = copied(database="postgresql")
    follow(project, "point-in-time.md")
    version = partial(re.sub, r"\b15(?=[ /])", PROGRAMS.parts[4])
    archive, check, base, switch, restore, copy, remove = map(
        version, blocks(project, f"{DIRECTORY}/point-in-time.md", language="bash")
    )
    for chosen in (f"moment='{MOMENT}'\n", f"copy={COPY}\n"):
        assert chosen in restore
        restore = restore.replace(chosen, "")
    begin = BEGIN.format(
        mounted=" ".join(MOUNTED),
        directory=tmp_path / "host",
        project=project,
        python=sys.executable,
    )
    script = [
        version(begin),
        "cd /",
        archive,
        check,
        "insert before",
        base,
        MISTAKE,
        switch,
        restore,
        FAIL,
    ]
    script += [copy, remove, CHECK]
    # The user postgres enters the test's directories through the mounts only.
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-euxc", "\n".join(script)],
        env={
            **{name: os.environ[name] for name in ("PATH", "TMPDIR")},
            "PYTHONPATH": f"{project}/src",
            "APP_ENV": "development",
            "DATABASE_URL": "postgresql://my-service@/my-service",
            "RESTORE": restore,
            "WITHOUT_VERSION": restore.replace(PROGRAMS.parts[4], "99"),
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"last_archived_wal \| [0-9A-F]{24}\nfailed_count +\| 0\n", done.stdout)
    assert "my-service could start" in done.stdout

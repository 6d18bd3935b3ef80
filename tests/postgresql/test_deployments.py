"""Other ways to reach the server: through PgBouncer, and the service behind Nginx."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from ..support.fixtures import Generate, Needs
from ..support.nginx_stack import NginxStack
from ..support.postgresql import Cluster
from ..support.process import terminate
from .service import NOTES, Load, Service, wait_until

PGBOUNCER = """
[databases]
service = host={directory} dbname=service user=service
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {directory}
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""


def test_service_works_behind_pgbouncer_in_transaction_mode(
    cluster: Cluster, service: Service, needs: Needs
) -> None:
    """With fewer connections than threads: a statement or a setting must belong to none of them."""
    needs("pgbouncer")
    service.command("migrate")
    configuration = cluster.directory / "pgbouncer.ini"
    configuration.write_text(PGBOUNCER.format(directory=cluster.directory))
    configuration.chmod(0o644)
    pgbouncer = cluster.start_program("pgbouncer", "-q", str(configuration))
    try:
        direct = service.environ["DATABASE_URL"]
        service.environ["DATABASE_URL"] = f"{direct}&port=6432&options="
        service.start()
        service.wait_for("/readyz", 200)
        with Load(service) as load:
            load.wait_for_successes(200)
        assert set(load.check()) == {200, 201}
        service.environ["DATABASE_URL"] = f"{direct}&port=6432"
        refused = service.command("check")
        assert re.search("unsupported startup parameter.*; add `options=` to the URL: ", refused)
    finally:
        terminate(pgbouncer)


def test_service_behind_nginx_recovers_with_its_database(
    cluster: Cluster, generated: Generate, needs: Needs, tmp_path: Path
) -> None:
    needs("nginx", "openssl")
    stack = NginxStack(generated(database="postgresql"), tmp_path)
    stack.environ["DATABASE_URL"] = cluster.url("service", user="service")
    token = f"Bearer {stack.token}"
    with stack.service_running(), stack.nginx_running():

        def post(title: str) -> int:
            body = f'{{"title": "{title}"}}'.encode()
            response = stack.request(
                "POST", NOTES, body, authorization=token, content_type="application/json"
            )
            return response.status

        assert post("before") == 201
        cluster.stop()
        assert post("refused") == 503
        assert stack.get("/livez").status == 200
        assert stack.get("/readyz").status == 503
        cluster.start()
        ends = time.monotonic() + 10
        while post("after") != 201:
            assert time.monotonic() < ends


def test_greenlets_of_a_worker_wait_for_the_database_together(
    cluster: Cluster, service: Service
) -> None:
    """The driver chooses how it waits when it is imported, which must be after gevent's patch."""
    service.environ |= {"WORKER_CLASS": "gevent", "WEB_CONCURRENCY": "1", "WEB_THREADS": "4"}
    service.command("migrate")
    service.start()
    holder = psycopg.connect(cluster.url("service"))
    with holder, ThreadPoolExecutor(3) as threads:
        holder.execute("LOCK TABLE notes")
        waiting = [
            threads.submit(service.request, "POST", NOTES, {"title": f"{number}"})
            for number in range(3)
        ]
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: cluster.execute(waits) == [(3,)], seconds=3)
        assert service.request("GET", "/readyz").status == 200
        holder.rollback()
        assert [one.result().status for one in waiting] == [201, 201, 201]

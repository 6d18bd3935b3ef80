"""Failures of the server: nothing acknowledged is lost, nothing is doubled, nothing is a 500."""

import os
import signal
import subprocess
import time

from ..support.logs import parse_log
from ..support.postgresql import Cluster, running_cluster
from .service import NOTES, Load, Service, wait_until

READY = "database system is ready to accept connections"


def restart_fast(cluster: Cluster) -> None:
    cluster.stop(signal.SIGINT)
    cluster.start()


def restart_immediately(cluster: Cluster) -> None:
    cluster.stop(signal.SIGQUIT)
    cluster.start()


def kill_a_backend(cluster: Cluster) -> None:
    """The server ends all sessions, because the shared memory may be damaged, and recovers."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'my-service' LIMIT 1"
    starts = cluster.log().count(READY)
    os.kill(cluster.execute(query)[0][0], signal.SIGKILL)
    # The recovery syncs all files of the cluster, which takes seconds on a busy disk.
    wait_until(lambda: cluster.log().count(READY) > starts, seconds=60)


def stop_for_3_seconds(cluster: Cluster) -> None:
    cluster.stop(signal.SIGINT)
    time.sleep(3)
    cluster.start()


EVENTS = [restart_fast, restart_immediately, kill_a_backend, stop_for_3_seconds]


def test_failures_of_the_server_lose_and_double_nothing(cluster: Cluster, service: Service) -> None:
    service.command("migrate")
    service.start()
    assert service.process is not None
    with Load(service) as load:
        for event in EVENTS:
            load.wait_for_successes(50)
            event(cluster)
            service.wait_for("/readyz", 200, seconds=5)
        load.wait_for_successes(50)
    statuses = load.check()
    print(dict(statuses))
    assert statuses[503] > 0
    # One line for each refusal, and no traceback.
    records = parse_log(service.log().splitlines())
    assert not [record for record in records if "error.stack_trace" in record]
    refusals = [r for r in records if "request failed: The database is" in r.get("message", "")]
    assert len(refusals) >= statuses[503]


def test_service_starts_before_its_database(cluster: Cluster, service: Service) -> None:
    service.command("migrate")
    cluster.stop()
    assert "does not respond, so the service will not be ready" in service.command("check")
    service.start()
    assert service.request("GET", "/readyz").status == 503
    assert service.request("POST", NOTES, {"title": "early"}).headers["Retry-After"] == "1"
    assert "Traceback" not in service.log()
    cluster.start()
    service.wait_for("/readyz", 200, seconds=5)
    assert service.request("POST", NOTES, {"title": "later"}).status == 201


def test_old_schema_is_exit_status_2(service: Service) -> None:
    done = subprocess.run(
        ["python", "-m", "my_service", "serve"],
        cwd=service.directory,
        env={**os.environ, **service.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "DATABASE_URL: is at revision None, 0001_notes is needed" in done.stderr


def test_queries_of_killed_workers_end(cluster: Cluster, service: Service) -> None:
    service.command("migrate")
    code = """if True:
        import os
        from sqlalchemy import text
        from my_service.app import open_database
        from my_service.settings import Settings
        with open_database(Settings.load(os.environ)).session("GET") as session:
            session.execute(text("SELECT pg_sleep(30)"))
    """
    worker = subprocess.Popen(
        ["python", "-c", code],
        env={**os.environ, **service.environ},
    )
    count = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(30)%'"
    wait_until(lambda: cluster.execute(count) == [(1,)])
    worker.kill()
    worker.wait()
    wait_until(lambda: cluster.execute(count) == [(0,)], seconds=10)


def test_failover_to_a_promoted_standby_is_followed(cluster: Cluster, service: Service) -> None:
    with running_cluster(primary=cluster) as standby:
        hosts = f"host={cluster.directory}&host={standby.directory}"
        service.environ["DATABASE_URL"] = (
            f"postgresql://service@/service?{hosts}&target_session_attrs=read-write"
        )
        service.command("migrate")
        service.start()
        created = service.request("POST", NOTES, {"title": "before"})
        assert created.status == 201
        wait_until(lambda: standby.execute("SELECT title FROM notes", "service") == [("before",)])
        cluster.stop(signal.SIGQUIT)
        assert service.request("POST", NOTES, {"title": "refused"}).status == 503
        standby.promote()
        service.wait_for("/readyz", 200, seconds=10)
        assert service.request("POST", NOTES, {"title": "after"}).status == 201
        assert service.titles() == ["before", "after"]

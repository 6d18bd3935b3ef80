"""Debian's Prometheus scrapes the installed service and fires alerts, as deploy/README.md says."""

import json
import re
from urllib.parse import quote

import pytest
import yaml

from ..support.fixtures import Generate
from .host import UNIT, Host
from .selection import once

CONFIG = "/etc/prometheus/prometheus.yml"
RULES = "/etc/prometheus/rules.d/my-service-alerts.yml"
SECONDS = "http_server_request_duration_seconds"
OK, ERROR = (
    f'{SECONDS}_count{{job="my-service", http_response_status_code="{n}"}}' for n in (200, 500)
)
FAST, SLOW, ALL = (
    f'{SECONDS}_bucket{{job="my-service", le="{le}"}}' for le in ("1.0", "2.5", "+Inf")
)
ONE, TWO = (f'process_resident_memory_bytes{{job="my-service", worker="{n}"}}' for n in (0, 1))
FAILED = 'node_systemd_unit_state{name="my-service@tick.service", state="failed"}'
WORKER, RESTARTED, TRIAL = (
    f'node_systemd_unit_state{{name="my-service-{name}.service", state="{state}"}}'
    for name, state in (("worker", "failed"), ("worker", "activating"), ("trial", "activating"))
)
BACKUP = 'database_backup_timestamp_seconds{job="my-service"}'
# The series of each alert, one value a minute: just below its threshold, and just above.
ALERTS: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("ServiceDown", {'up{job="my-service"}': "1x30"}, {'up{job="my-service"}': "1x20 0x10"}),
    ("CommandFailed", {FAILED: "0x30"}, {FAILED: "1x30"}),
    ("CommandFailed", {WORKER: "0x30", TRIAL: "1x30"}, {WORKER: "1x30"}),
    ("CommandFailed", {RESTARTED: "0x28 1 0"}, {RESTARTED: "0 1 " * 15}),
    ("BackupTooOld", {BACKUP: "3605x1620"}, {BACKUP: "3595x1620"}),
    # Never: a service that was installed 25 hours ago, or 27.
    ("BackupTooOld", {BACKUP: "_x119 0x1500"}, {BACKUP: "0x1620"}),
    ("HighErrorRate", {OK: "0+99x30", ERROR: "0+1x30"}, {OK: "0+97x30", ERROR: "0+3x30"}),
    (
        "HighLatency",
        {FAST: "0+95x30", SLOW: "0+99x30", ALL: "0+99x30"},
        {FAST: "0+93x30", SLOW: "0+99x30", ALL: "0+99x30"},
    ),
    ("HighMemory", {ONE: "204e6x30", TWO: "204e6x30"}, {ONE: "206e6x30", TWO: "206e6x30"}),
]


def query_values(host: Host, query: str) -> list[str]:
    """Return the values of a query."""
    url = f"http://localhost:9090/api/v1/query?query={quote(query)}"
    output = host.shell(f"curl --silent --fail --max-time 5 '{url}' || true")
    return [series["value"][1] for series in json.loads(output)["data"]["result"]] if output else []


def wait_for(host: Host, query: str) -> None:
    """Wait until a query has a value."""
    host.wait_until(lambda: query_values(host, query), 30)


@once
def test_prometheus_scrapes_the_service(installed: Host) -> None:
    # A short interval, so that the test does not wait.
    installed.inside("sed", "-i", "s/interval: *15s/interval: 1s/", CONFIG)
    installed.inside("systemctl", "start", "prometheus")
    wait_for(installed, "vector(1)")  # before that, a reload's SIGHUP would end Prometheus
    installed.shell(installed.section("Prometheus"))
    output = installed.shell(installed.section("Prometheus"))
    assert f"{CONFIG} is valid prometheus config file" in output
    assert f"SUCCESS: {len({name for name, _, _ in ALERTS})} rules found" in output
    token = installed.inside("stat", "--format=%U:%G %a", "/etc/prometheus/my-service.token")
    assert token == "root:prometheus 640\n"
    wait_for(installed, 'up{job="my-service"} == 1')
    assert installed.request("GET", "/")[0] == 200
    wait_for(installed, f'{SECONDS}_count{{job="my-service", http_route="/"}} >= 1')
    rules = installed.machine.root / RULES[1:]
    for name in set(re.findall(r"\b(?:http|process|database)_\w+(?=\{)", rules.read_text())):
        assert query_values(installed, f'{name}{{job="my-service"}}'), name
    installed.inside("systemctl", "stop", UNIT, "my-service.socket")
    wait_for(installed, 'ALERTS{alertname="ServiceDown", alertstate="pending"}')
    installed.inside("systemctl", "stop", "prometheus")


@once
@pytest.mark.parametrize(("alert", "below", "above"), ALERTS, ids=[name for name, _, _ in ALERTS])
def test_alert_fires_above_its_threshold(
    installed: Host, alert: str, below: dict[str, str], above: dict[str, str]
) -> None:
    ends = "27h" if BACKUP in below else "30m"
    firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values[name]} for name in values],
            "promql_expr_test": [{"expr": firing, "eval_time": ends, "exp_samples": samples}],
        }
        for values, samples in ((below, []), (above, [{"labels": "{}", "value": 1}]))
    ]
    file = installed.machine.root / "srv/alerts.yml"
    file.write_text(json.dumps({"rule_files": [RULES], "tests": tests}))
    assert "SUCCESS" in installed.inside("promtool", "test", "rules", "/srv/alerts.yml")


def test_alerts_link_to_the_runbook(generated: Generate) -> None:
    project = generated()
    runbook = (project / "docs/runbook.md").read_text()
    anchors = {
        title.lower().replace(" ", "-").replace(",", "")
        for title in re.findall(r"^## (.+)$", runbook, re.MULTILINE)
    }
    file = project / "deploy/prometheus/my-service-alerts.yml"
    for rule in yaml.safe_load(file.read_text())["groups"][0]["rules"]:
        document, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (document, anchor in anchors) == ("docs/runbook.md", True), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")

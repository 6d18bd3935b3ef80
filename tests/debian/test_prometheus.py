"""Debian's own Prometheus asks the installed service and warns, as deploy/README.md says."""

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
# Half an hour of what each alert is about, a minute between two values: just well, and just not.
ALERTS: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("ServiceDown", {'up{job="my-service"}': "1x30"}, {'up{job="my-service"}': "1x20 0x10"}),
    ("HighErrorRate", {OK: "0+99x30", ERROR: "0+1x30"}, {OK: "0+97x30", ERROR: "0+3x30"}),
    (
        "HighLatency",
        {FAST: "0+95x30", SLOW: "0+99x30", ALL: "0+99x30"},
        {FAST: "0+93x30", SLOW: "0+99x30", ALL: "0+99x30"},
    ),
    ("HighMemory", {ONE: "204e6x30", TWO: "204e6x30"}, {ONE: "206e6x30", TWO: "206e6x30"}),
]


def asked(host: Host, query: str) -> list[str]:
    """Return the values that Prometheus has for a query."""
    url = f"http://localhost:9090/api/v1/query?query={quote(query)}"
    told = host.shell(f"curl --silent --fail --max-time 5 '{url}' || true")
    return [series["value"][1] for series in json.loads(told)["data"]["result"]] if told else []


def wait_for(host: Host, query: str) -> None:
    host.wait_until(lambda: asked(host, query), 30)


@once
def test_prometheus_scrapes_the_service(installed: Host) -> None:
    # So that the test need not wait.
    installed.inside("sed", "-i", "s/interval: *15s/interval: 1s/", CONFIG)
    installed.inside("systemctl", "start", "prometheus")
    wait_for(installed, "vector(1)")  # before that a reload's SIGHUP would end it
    installed.shell(installed.section("Prometheus"))
    told = installed.shell(installed.section("Prometheus"))
    assert f"{CONFIG} is valid prometheus config file" in told
    assert f"SUCCESS: {len(ALERTS)} rules found" in told
    token = installed.inside("stat", "--format=%U:%G %a", "/etc/prometheus/my-service.token")
    assert token == "root:prometheus 640\n"
    wait_for(installed, 'up{job="my-service"} == 1')
    assert installed.request("GET", "/")[0] == 200
    wait_for(installed, f'{SECONDS}_count{{job="my-service", http_route="/"}} >= 1')
    rules = installed.machine.root / RULES[1:]
    for name in set(re.findall(r"\b(?:http|process)_\w+(?=\{)", rules.read_text())):
        assert asked(installed, f'{name}{{job="my-service"}}'), name
    installed.inside("systemctl", "stop", UNIT, "my-service.socket")
    wait_for(installed, 'ALERTS{alertname="ServiceDown", alertstate="pending"}')
    installed.inside("systemctl", "stop", "prometheus")


@once
@pytest.mark.parametrize(("alert", "well", "ill"), ALERTS, ids=[name for name, _, _ in ALERTS])
def test_each_alert_warns_when_it_should(
    installed: Host, alert: str, well: dict[str, str], ill: dict[str, str]
) -> None:
    firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values[name]} for name in values],
            "promql_expr_test": [{"expr": firing, "eval_time": "30m", "exp_samples": samples}],
        }
        for values, samples in ((well, []), (ill, [{"labels": "{}", "value": 1}]))
    ]
    file = installed.machine.root / "srv/alerts.yml"
    file.write_text(json.dumps({"rule_files": [RULES], "tests": tests}))
    assert "SUCCESS" in installed.inside("promtool", "test", "rules", "/srv/alerts.yml")


def test_each_alert_names_a_place_in_the_runbook(generated: Generate) -> None:
    project = generated()
    runbook = (project / "docs/runbook.md").read_text()
    places = {
        title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", runbook, re.MULTILINE)
    }
    file = project / "deploy/prometheus/my-service-alerts.yml"
    for rule in yaml.safe_load(file.read_text())["groups"][0]["rules"]:
        document, _, place = rule["annotations"]["runbook_url"].partition("#")
        assert (document, place in places) == ("docs/runbook.md", True), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")

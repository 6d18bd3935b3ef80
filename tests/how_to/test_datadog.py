"""docs/how-to/datadog.md: Datadog's own check scrapes a started service. No agent reads the log."""

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from ..support.fixtures import Generate
from ..support.matrix import SMALLEST
from ..support.process import free_port, run, terminate, wait_until_ready
from .steps import check, follow

TOKEN = "a" * 32
CHECK = """
import json, sys
import yaml
from datadog_checks.base.checks.openmetrics.v2.base import OpenMetricsBaseCheckV2
from datadog_checks.base.stubs import aggregator

(instance,) = yaml.safe_load(open(sys.argv[1]))["instances"]
OpenMetricsBaseCheckV2("openmetrics", {}, [instance]).run()
(health,) = aggregator.service_checks(f"{instance['namespace']}.openmetrics.health")
metrics = {name: [m.tags for m in aggregator.metrics(name)] for name in aggregator.metric_names}
buckets = list(aggregator._histogram_buckets)
print(json.dumps({"status": health.status, "metrics": metrics, "buckets": buckets}))
"""


def test_check_collects_all_metrics(copied: Generate, tmp_path: Path) -> None:
    project = copied()
    follow(project, "datadog.md")
    check(project)
    packages = ("datadog-checks-base[deps]==38.5.0",)
    run("uv", "venv", "--quiet", "datadog", cwd=tmp_path)
    run("uv", "pip", "install", "--quiet", "--python", "datadog", *packages, cwd=tmp_path)
    address = f"127.0.0.1:{free_port()}"
    token = tmp_path / "token"
    file = project / "deploy/datadog/openmetrics.yaml"
    text = file.read_text().replace("127.0.0.1:9180", address)
    file.write_text(text.replace("/etc/datadog-agent/my-service.token", str(token)))

    def scrape(sent: str) -> Any:
        token.write_text(f"{sent}\n")
        output = run("datadog/bin/python", "-c", CHECK, file, cwd=tmp_path)
        return json.loads(output.splitlines()[-1])  # below the check's own log

    environ = {"APP_ENV": "development", "ADMIN_TOKEN": TOKEN, "BIND": address}
    run("make", "migrate", cwd=project)
    service = subprocess.Popen(
        [str(project / ".venv/bin/python"), "-m", "my_service", "serve"],
        cwd=project,
        env={**os.environ, **environ},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_ready(f"http://{address}")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(f"http://{address}/metrics", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            exposition = response.read().decode()
        collected, refused = scrape(TOKEN), scrape("b" * 32)
    finally:
        terminate(service)
    assert (collected["status"], refused["status"]) == (0, 2)
    families = set(re.findall(r"^# TYPE (\S+) (?:gauge|histogram)", exposition, re.MULTILINE))
    families -= {"target_info", "http_server_request_duration_seconds_created"}
    expected = {f"my_service.{name}" for name in families}
    found = {re.sub(r"\.(sum|count)$", "", name) for name in collected["metrics"]}
    assert found == expected
    assert collected["buckets"] == ["my_service.http_server_request_duration_seconds"]
    workers = {tag for tags in collected["metrics"]["my_service.process_threads"] for tag in tags}
    assert {"worker:0", "worker:1"} <= workers


def test_log_configuration_names_the_log_of_the_service(copied: Generate) -> None:
    project = copied(**SMALLEST)
    follow(project, "datadog.md")
    log = re.findall("path: (.*)", (project / "deploy/datadog/logs.yaml").read_text())
    configured = (project / "deploy/supervisor/my-service.conf").read_text()
    assert log == re.findall("^stdout_logfile=(.*)", configured, re.MULTILINE)

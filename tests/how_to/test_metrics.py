"""docs/how-to/metrics.md. package/test_own_metrics.py counts over workers that come and go."""

import shutil
from pathlib import Path

import yaml

from ..support.fixtures import Generate
from ..support.matrix import LARGEST
from ..support.process import run
from .steps import check, follow


def test_metric_and_alert_can_be_added(copied: Generate) -> None:
    project = copied(**LARGEST)
    follow(project, "metrics.md")
    check(project, "tests/test_metrics.py")
    (alerts,) = Path(project, "deploy/prometheus").glob("*-alerts.yml")
    (group,) = yaml.safe_load(alerts.read_text())["groups"]
    own = group["rules"][-1]
    assert own["alert"] == "NothingCreated"
    assert own.keys() == group["rules"][0].keys()
    if shutil.which("promtool"):
        run("promtool", "check", "rules", alerts, cwd=project)

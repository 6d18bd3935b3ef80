"""The deploy files agree with the service, and with the tables of its documents.

Remove the files test_deploy*.py and test_nginx.py if you deploy in another way.
"""

import re
from contextlib import closing
from itertools import pairwise

import pytest

from bottle_service.http.body_limit import largest_body

from {{ cookiecutter.package_name }}.settings import Settings

from .deploy_files import DEPLOY, ROOT, SLUG, read, seconds
from .service import SERVICE

README = read("deploy/README.md", "deploy/*/README.md")
# Rows `| `NAME`, `NAME`: … | … | SECONDS |`, from the innermost timeout to the outermost.
TIMEOUTS = [
    (re.findall("`([^`]+)`", row[1].partition(":")[0]), float(row[2]))
    for row in re.finditer(r"^\| (`.*?) \| [^|]* \| (\d+) \|$", README, re.MULTILINE)
]
# Rows `| …: `NAME` | `FILE` | `VALUE` |`.
LIMITS = re.findall(r"^\| .*`([^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", README, re.MULTILINE)


def test_each_timeout_is_longer_than_the_one_inside() -> None:
    assert TIMEOUTS, "deploy/README.md: the table of timeouts is missing"
    for (inner, shorter), (outer, longer) in pairwise(TIMEOUTS):
        assert shorter < longer, f"deploy/README.md: {outer} must be longer than {inner}"


@pytest.mark.parametrize(
    ("name", "expected"), [(name, value) for names, value in TIMEOUTS for name in names]
)
def test_timeout_is_the_documented_one(name: str, expected: float) -> None:
    if name == "REQUEST_DEADLINE":
        found = [Settings.read({})[0].request_deadline]
    else:
        deploy = read(
            "deploy/*/SLUG*", "gunicorn.conf.py", "uwsgi.ini", "src/bottle_service/servers/*.py"
        )
        found = seconds(name, deploy)
    assert set(found) == {expected}, f"{name}: change it in deploy/README.md, too"


@pytest.mark.parametrize(("name", "file", "expected"), LIMITS)
def test_limit_is_the_documented_one(name: str, file: str, expected: str) -> None:
    directory = "nginx" if file.endswith(".conf") else "*"
    (path,) = [*ROOT.glob(file), *DEPLOY.glob(f"{directory}/{SLUG}{file}")]
    pattern = rf"^(?!;)[^#\n]*?(?<![\w-]){re.escape(name)}(?:=| = |:| )([\w/]+(?: \d+k)?)"
    found = re.findall(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    assert found == [expected], f"{path.name}: change {name} in deploy/README.md, too"


def test_requests_outlast_a_release_and_its_rollback() -> None:
    """Requests wait in the socket meanwhile, and Nginx waits for their responses."""
    (ready,) = re.findall(r"^READY=(\d+)", read("deploy/install.sh"), re.MULTILINE)
    ((_, read_timeout),) = [row for row in TIMEOUTS if row[0][0].endswith("_read_timeout")]
    assert 2 * float(ready) <= read_timeout


def test_nginx_accepts_the_largest_body_of_a_route(environ: dict[str, str]) -> None:
    settings = SERVICE.settings.load(environ)
    with closing(SERVICE.create_app(settings)) as app:
        needed = -(-largest_body(app, settings.max_body_bytes) // 2**20)
    found = re.findall(r"^client_max_body_size (.*);", read("deploy/nginx/*.conf"), re.MULTILINE)
    line = f"client_max_body_size {needed}m;"
    assert found == [f"{needed}m"], (
        f"deploy/nginx/{SLUG}-limits.conf: write `{line}`, and `{needed}m` in the table of "
        "deploy/README.md"
    )


def test_settings_file_is_valid_and_trusts_nginx() -> None:
    """install.sh installs it for the first release. It contains no secrets."""
    settings, problems, _ = Settings.read({"ENV_FILE": str(DEPLOY / f"{SLUG}.env")})
    invalid = {problem.setting: problem for problem in problems}
    missing = sorted(Settings.required() & invalid.keys() - Settings.secrets())
    assert not missing, f"deploy/{SLUG}.env: add the lines {[f'{name}=VALUE' for name in missing]}"
    assert invalid.keys() <= Settings.required(), problems
    assert settings.trusted_proxy_count == 1


def test_each_alert_links_to_a_section_of_the_runbook() -> None:
    headings = re.findall(r"^##+ (.*)$", read("docs/runbook.md"), re.MULTILINE)
    # GitHub and GitLab make anchors in this way.
    anchors = {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}
    alerts = read("deploy/prometheus/*-alerts.yml")
    for anchor in re.findall(r"^ *runbook_url: .*docs/runbook\.md#(.*)$", alerts, re.MULTILINE):
        assert anchor in anchors, (
            f"deploy/prometheus/{SLUG}-alerts.yml: docs/runbook.md has no section #{anchor}"
        )

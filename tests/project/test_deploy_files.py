"""Rules of the deploy files that only the template has to keep: an owner may change these values."""

import re
import subprocess
from pathlib import Path

import pytest

from ..support.fixtures import Generate
from ..support.generate import CHOICES
from ..support.git import commit, git
from ..support.markdown import blocks
from ..support.process import run

SLUG = "my-service"
SERVERS = CHOICES["wsgi_server"]


def nginx_files(project: Path) -> str:
    return "".join(path.read_text() for path in sorted((project / "deploy/nginx").glob("*.conf")))


def directives(path: Path) -> dict[str, str]:
    """Return the `NAME=VALUE` lines of a unit."""
    return dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("server", SERVERS)
def test_nginx_uses_the_clients_host_only_upstream_and_in_the_cache_key(
    generated: Generate, server: str
) -> None:
    """A response that repeats the host could lead to another site."""
    uses = re.findall(
        r"^.*\$(?:http_)?host\b.*$", nginx_files(generated(wsgi_server=server)), re.MULTILINE
    )
    if server == "uwsgi":
        key, passed = "uwsgi_cache_key", "uwsgi_param HTTP_HOST $host if_not_empty;"
    else:
        key, passed = "proxy_cache_key", "proxy_set_header Host $host;"
    assert uses == [f"{key} $scheme$request_method$host$request_uri;", passed]


def test_nginx_listens_on_ipv4_and_ipv6(generated: Generate) -> None:
    lines = re.findall(r"^ *listen (.*);$", nginx_files(generated()), re.MULTILINE)
    ipv4 = {line for line in lines if not line.startswith(("[::]:", "127."))}
    assert ipv4 == {"80", "443 ssl http2", "80 default_server", "443 default_server"}
    assert sorted(lines) == sorted([*ipv4, *(f"[::]:{line}" for line in ipv4), "127.0.0.1:9180"])


@pytest.mark.parametrize("server", SERVERS)
def test_unit_is_ready_stopped_and_restarted_as_the_server_expects(
    generated: Generate, server: str
) -> None:
    systemd = generated(wsgi_server=server) / "deploy/systemd"
    unit, socket = (directives(systemd / f"{SLUG}.{kind}") for kind in ("service", "socket"))
    expected = {
        "Type": "notify",
        # uWSGI's master sends no READY=1: another process of the service does.
        "NotifyAccess": "all" if server == "uwsgi" else "main",
        "KillMode": "control-group",  # no process remains to stop the workers of a killed master
        "OOMPolicy": "continue",  # the master replaces a killed worker
        "Restart": "always",
        "RestartPreventExitStatus": "2",  # invalid settings
        "LogRateLimitIntervalSec": "0",  # journald drops no line
        "SyslogIdentifier": SLUG,
        "Requires": f"{SLUG}.socket",
        "After": f"{SLUG}.socket network.target",
        "WantedBy": "multi-user.target",
    }
    assert unit | expected == unit
    assert socket["WantedBy"] == "sockets.target"
    assert socket["Description"] == f"{unit['Description']} (socket)"


def test_supervisord_gives_the_service_an_environment_of_its_own(generated: Generate) -> None:
    run_sh = (generated(supervisor="supervisord") / "deploy/supervisor/run.sh").read_text()
    assert dict(re.findall(r"\b([A-Z_]+)=(\S+)", run_sh.partition(" env -i ")[2])) == {
        "PATH": "/usr/bin",
        "LANG": "C.UTF-8",
        "TMPDIR": f"/run/{SLUG}/tmp",  # noqa: S108
        "APP_ENV": "production",
        "ENV_FILE": f"/etc/{SLUG}/{SLUG}.env",
        "CREDENTIALS_DIRECTORY": f"/etc/{SLUG}/credentials",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.mark.parametrize(
    ("server", "config"), [("gunicorn", "gunicorn.conf.py"), ("uwsgi", "uwsgi.ini")]
)
def test_server_reads_the_variables_that_serve_sets(
    generated: Generate, server: str, config: str
) -> None:
    project = generated(wsgi_server=server)
    servers = project / "src/bottle_service/servers"
    readers = [project / config, *servers.glob("*_hooks.py")]
    read = {name for file in readers for name in re.findall(r"\bSERVE_(\w+)", file.read_text())}
    set_by_serve = set(re.findall(r"\bSERVE_(\w+)", (servers / f"{server}.py").read_text()))
    if server == "uwsgi":  # `if-env = SERVE_JSON`; serve sets SERVE_JSON or SERVE_TEXT
        read -= {"JSON"}
    assert read == set_by_serve


def test_uwsgi_rejects_unknown_names_in_each_file(generated: Generate) -> None:
    project = generated(wsgi_server="uwsgi")
    for name in ("uwsgi.ini", f"deploy/uwsgi/{SLUG}.ini", "deploy/uwsgi/emperor.uwsgi.ini"):
        assert "\nstrict = true\n" in (project / name).read_text()


def test_emperor_unit_is_stopped_and_restarted_as_the_service(generated: Generate) -> None:
    deploy = generated(wsgi_server="uwsgi") / "deploy"
    emperor = directives(deploy / "uwsgi/emperor.uwsgi.service")
    service = directives(deploy / f"systemd/{SLUG}.service")
    for name in (
        "Type", "KillMode", "TimeoutStopSec", "Restart", "RestartSec", "WantedBy",
        "LogRateLimitIntervalSec",
    ):  # fmt: skip
        assert emperor[name] == service[name]
    assert (emperor["Description"], emperor["After"]) == ("uWSGI Emperor", "network.target")


@pytest.mark.parametrize("server", SERVERS)
def test_documents_name_only_settings_that_exist(generated: Generate, server: str) -> None:
    """An upper-case name with `=` in a document is a setting, or a variable of systemd or make."""
    project = generated(wsgi_server=server)
    known = set(re.findall(r"^#?([A-Z_]+)=", (project / ".env.example").read_text(), re.MULTILINE))
    known |= {"APP_ENV", "ENV_FILE", "GRACEFUL_TIMEOUT"}
    documents = [
        project / "README.md",
        *project.glob("deploy/**/*.md"),
        *project.glob("docs/*.md"),  # how-to pages add settings
    ]
    for document in documents:
        named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=[^`]*)?`", document.read_text()))
        assert named <= known, document


@pytest.mark.parametrize("supervisor", CHOICES["supervisor"])
def test_install_prints_its_usage(generated: Generate, supervisor: str) -> None:
    """`--help` needs no root, and an unknown option prints the same text."""
    install = [generated(supervisor=supervisor) / "deploy/install.sh"]
    asked = subprocess.run(
        ["bash", *install, "--help"], check=False, capture_output=True, text=True
    )
    refused = subprocess.run(
        ["bash", *install, "--relase"], check=False, capture_output=True, text=True
    )
    assert (asked.returncode, asked.stderr, refused.returncode) == (0, "", 1)
    assert refused.stderr == f"{asked.stdout}install.sh: unknown argument '--relase'\n"
    options = ["--release", "--dry-run", "--self-signed"]
    options += ["--outbound", "--no-outbound"] if supervisor == "systemd" else []
    assert re.findall(r"^  (--[a-z-]+) ", asked.stdout, re.MULTILINE) == options
    assert not re.search(r"shellcheck|set -|<%", asked.stdout)


def test_domain_name_is_changed_where_the_readme_says(
    generated: Generate, copied: Generate
) -> None:
    """The result is the project that is generated with the other name."""
    before, after = f"{SLUG}.example.com", "notes.example.org"
    project = copied()
    commit(project, "first")
    (command,) = blocks(project, "deploy/README.md", "Change the domain name")
    for name in run("sh", "-c", command, cwd=project).splitlines():
        file = project / name
        file.write_text(file.read_text().replace(before, after))
    renamed = generated(domain_name=after)
    for name in git("ls-files", cwd=project).splitlines():
        assert (project / name).read_bytes() == (renamed / name).read_bytes(), name

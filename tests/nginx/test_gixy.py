"""gixy-ng on the Nginx files for both Debians: each finding has its reason here."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from ..support.fixtures import Generate
from .changes import enable_cache

# Debian's versions, and the files for newer versions that each of them uses.
VERSIONS = {"1.22.1": "none", "1.26.3": "from-*/*.conf"}
MAIN = """
worker_rlimit_nofile 2048;
events {{ worker_connections 1024; }}
http {{ include {}/my-service.conf; }}
"""
ACCEPTED = {
    "add_header_redefinition": "drops the headers of a 416, which has them already: test_site.py",
    "ssl_ecdh_curve": "names a group of OpenSSL 3.5, in a file for that version only",
    # gixy knows Nginx's versions, but not Debian's fixes in them.
    "CVE-2025-23419": "concerns client certificates, which the site does not request",
    "CVE-2026-9256": "concerns rewrites with captures, of which the site has none",
    "CVE-2026-42946": "concerns responses of an untrusted upstream",
}


def findings_of(project: Path, directory: Path, version: str) -> dict[str, str]:
    """Return the file of each finding, with the cache enabled."""
    sources = project / "deploy/nginx"
    for source in [*sources.glob("*.conf"), *sources.glob(VERSIONS[version])]:
        text = source.read_text()
        for theirs, ours in enable_cache(project).items():
            text = text.replace(theirs, ours)
        # gixy reads the brackets as a file name; Nginx reads them as a pattern.
        text = text.replace("[.]", ".").replace("/etc/nginx/snippets/", f"{directory}/")
        (directory / source.name).write_text(text)
    (directory / "nginx.conf").write_text(MAIN.format(directory))
    options = ["--level", "--format=json", f"--nginx-version={version}", f"{directory}/nginx.conf"]
    done = subprocess.run(["gixy", *options], check=False, capture_output=True, text=True)
    findings = json.loads(done.stdout)
    return {
        (re.findall(r"^CVE-[\d-]+", each["reason"]) or [each["plugin"]])[0]: Path(each["file"]).name
        for each in findings
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", ["gunicorn", "uwsgi"])
def test_gixy_finds_only_known_findings(
    generated: Generate, tmp_path: Path, version: str, server: str
) -> None:
    found = findings_of(generated(wsgi_server=server), tmp_path, version)
    assert found.keys() <= ACCEPTED.keys()
    assert found["add_header_redefinition"] == "my-service-headers.conf"


def test_gixy_finds_a_planted_mistake(copied: Generate, tmp_path: Path) -> None:
    project = copied()
    proxy = project / "deploy/nginx/my-service-proxy.conf"
    proxy.write_text(proxy.read_text().replace(" Host $host;", " Host $http_host;"))
    (tmp_path / "nginx").mkdir()
    assert "host_spoofing" in findings_of(project, tmp_path / "nginx", "1.26.3")

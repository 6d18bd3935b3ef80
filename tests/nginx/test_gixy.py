"""gixy-ng reads Nginx's files as for both Debians: what it dislikes has its reason here."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from ..support.fixtures import Generate
from .changes import enable_cache

# Debian's own versions, and which of the two files for HTTP/2 they take.
VERSIONS = {"1.22.1": "none", "1.26.3": "from-*/*.conf"}
MAIN = """
worker_rlimit_nofile 2048;
events {{ worker_connections 1024; }}
http {{ include {}/my-service.conf; }}
"""
MEANT = {
    "add_header_redefinition": "drops the headers of a 416, which has them already: test_site.py",
    "ssl_ecdh_curve": "names what OpenSSL 3.5 knows, in a file that is put only where it is there",
    # It knows Nginx's own versions only, not what Debian has mended in them.
    "CVE-2025-23419": "is of client certificates, which nobody is asked for",
    "CVE-2026-9256": "is of rewrites that capture, of which there is none",
    "CVE-2026-42946": "is of answers of a server that is not one's own",
}


def disliked(project: Path, directory: Path, version: str) -> dict[str, str]:
    """Return the file of each finding of gixy's, the cache being switched on."""
    sources = project / "deploy/nginx"
    for source in [*sources.glob("*.conf"), *sources.glob(VERSIONS[version])]:
        text = source.read_text()
        for theirs, ours in enable_cache(project).items():
            text = text.replace(theirs, ours)
        # It takes the brackets for a file's name, where Nginx sees a pattern.
        text = text.replace("[.]", ".").replace("/etc/nginx/snippets/", f"{directory}/")
        (directory / source.name).write_text(text)
    (directory / "nginx.conf").write_text(MAIN.format(directory))
    asked = ["--level", "--format=json", f"--nginx-version={version}", f"{directory}/nginx.conf"]
    done = subprocess.run(["gixy", *asked], check=False, capture_output=True, text=True)
    findings = json.loads(done.stdout)
    return {
        (re.findall(r"^CVE-[\d-]+", each["reason"]) or [each["plugin"]])[0]: Path(each["file"]).name
        for each in findings
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server", ["gunicorn", "uwsgi"])
def test_gixy_finds_nothing_else(
    generated: Generate, tmp_path: Path, version: str, server: str
) -> None:
    found = disliked(generated(wsgi_server=server), tmp_path, version)
    assert found.keys() <= MEANT.keys()
    assert found["add_header_redefinition"] == "my-service-headers.conf"


def test_a_mistake_would_be_found(copied: Generate, tmp_path: Path) -> None:
    project = copied()
    proxy = project / "deploy/nginx/my-service-proxy.conf"
    proxy.write_text(proxy.read_text().replace(" Host $host;", " Host $http_host;"))
    (tmp_path / "nginx").mkdir()
    assert "host_spoofing" in disliked(project, tmp_path / "nginx", "1.26.3")

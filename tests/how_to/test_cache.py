"""docs/how-to/cache.md. nginx/test_cache.py tests what Nginx stores."""

import json
from pathlib import Path

from ..support.fixtures import Generate, Needs
from ..support.matrix import LARGEST
from ..support.nginx_stack import NginxStack
from .steps import check, follow


def test_values_can_be_cached(copied: Generate) -> None:
    project = copied(**LARGEST)
    follow(project, "cache.md")
    check(project, "tests/test_statistics.py")


def test_nginx_stores_the_response(copied: Generate, tmp_path: Path, needs: Needs) -> None:
    needs("nginx", "openssl")
    project = copied(**LARGEST)
    follow(project, "cache.md")
    directory = tmp_path / "stack"
    directory.mkdir()
    with NginxStack(project, directory).service_running() as stack, stack.nginx_running():
        bodies = {stack.get("/api/v1/statistics").body for _ in range(3)}
        assert len(bodies) == 1
        log = directory / "my-service.log"
        stack.get("/end")
        stack.wait_until_logged('"url.path":"/end"', log.name)
        lines = log.read_text().splitlines()
        caches = [json.loads(line)["nginx.cache"] for line in lines if "statistics" in line]
        assert caches == ["MISS", "HIT", "HIT"]

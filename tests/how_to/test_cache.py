"""docs/how-to/cache.md. nginx/test_cache.py tests what Nginx stores."""

import json
from pathlib import Path

import pytest

from ..support.fixtures import Generate, Needs
from ..support.generate import Answers, name_of
from ..support.matrix import LARGEST, SMALLEST
from ..support.nginx_stack import NginxStack
from .steps import check, follow


@pytest.mark.parametrize("answers", [LARGEST, SMALLEST], ids=name_of)
def test_values_can_be_cached(copied: Generate, answers: Answers) -> None:
    project = copied(**answers)
    follow(project, "cache.md")
    check(project)


def test_nginx_stores_the_response(copied: Generate, tmp_path: Path, needs: Needs) -> None:
    needs("nginx", "openssl")
    project = copied(**LARGEST)
    follow(project, "cache.md")
    directory = tmp_path / "stack"
    directory.mkdir()
    with NginxStack(project, directory).service_running() as stack, stack.nginx_running():
        bodies = {stack.get("/api/v1/statistics").body for _ in range(3)}
        assert len(bodies) == 1
        stack.wait_until_logged('"nginx.cache":"HIT"', "my-service.log")
        lines = (directory / "my-service.log").read_text().splitlines()
        caches = [json.loads(line)["nginx.cache"] for line in lines if "statistics" in line]
        assert caches == ["MISS", "HIT", "HIT"]

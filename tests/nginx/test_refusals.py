"""Responses to requests whose body the service does not read."""

from collections import Counter
from pathlib import Path

import pytest

from ..support.fixtures import Needs
from ..support.matrix import NEWER_NGINX, WITHOUT_DATABASE
from ..support.nginx_stack import NginxStack

STACKS = [*WITHOUT_DATABASE, NEWER_NGINX]
TIMES = 20
SIZES = (16_000, 400_000)


def site_changes(project: Path) -> dict[str, str]:
    """Raise Nginx's limits, so that the service sees every request and every body."""
    return {
        "rate=50r/s": "rate=5000r/s",
        "client_max_body_size 1m;": "client_max_body_size 4m;",
    }


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize(
    ("path", "content_type", "sizes", "status"),
    [
        ("/echo", "application/json", SIZES, 200),
        ("/%FF", "application/json", SIZES, 400),
        ("/api/v1/greetings", "application/json", SIZES, 401),
        ("/nothing", "application/json", SIZES, 404),
        ("/livez", "application/json", SIZES, 405),
        ("/echo", "application/json", (1_500_000,), 413),
        ("/api/v1/greetings", "text/plain", SIZES, 415),
    ],
)
def test_refused_request_with_a_body_gets_its_status(
    stack: NginxStack,
    needs: Needs,
    version: str,
    path: str,
    content_type: str,
    sizes: tuple[int, ...],
    status: int,
) -> None:
    """The service may respond before it has received the whole body from Nginx.

    If it then closed the connection, Nginx would respond with 502 (benoitc/gunicorn#872).
    """
    needs("curl")
    headers = {"Content_Type": content_type}
    headers |= {"Authorization": f"Bearer {stack.token}"} if status == 415 else {}
    send = stack.request if version == "HTTP/1.1" else stack.curl
    received = Counter(
        send("POST", path, b"x" * sizes[number % len(sizes)], **headers).status
        for number in range(TIMES)
    )
    assert received == {status: TIMES}


def test_upload_may_be_as_large_as_its_route_allows(stack: NginxStack) -> None:
    limit = 3_000_000
    accepted = stack.request("POST", "/upload", b"x" * limit)
    assert (accepted.status, accepted.body) == (200, str(limit).encode())
    stack.request("POST", "/upload", b"x" * (limit + 1)).check_problem(413)

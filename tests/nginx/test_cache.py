"""Cache of deploy/nginx/SLUG-cache.conf, enabled as its comment says."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, unquote

import pytest

from ..support.fake_upstream import fake_upstream
from ..support.matrix import NEWER_NGINX, WITHOUT_DATABASE
from ..support.nginx_stack import NginxStack
from .changes import OTHER_DOMAIN, enable_cache

STACKS = [*WITHOUT_DATABASE, NEWER_NGINX]
PUBLIC = "Cache-Control: public, max-age=60\r\n"


site_changes = enable_cache


def respond_as_requested(request: bytes) -> bytes:
    """Respond with the header fields that the request names."""
    (fields,) = re.findall("X-Respond: (.*)\r", request.decode())
    return f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{unquote(fields)}\r\nok".encode()


def upstream_requests(
    stack: NginxStack, path: str, fields: str, clients: list[dict[str, str]]
) -> list[int]:
    """Return the number of upstream requests after each of the clients' requests for one path."""
    with fake_upstream(stack, respond_as_requested) as requests:
        counts = []
        for client in clients:
            assert stack.get(path, X_Respond=quote(fields), **client).body == b"ok"
            counts.append(len(requests))
    return counts


def test_public_response_is_cached(stack: NginxStack) -> None:
    assert upstream_requests(stack, "/public", PUBLIC, [{}, {}, {}]) == [1, 1, 1]


def test_cache_is_separate_for_each_name(stack: NginxStack) -> None:
    clients = [{}, {"Host": OTHER_DOMAIN}, {}, {"Host": OTHER_DOMAIN}]
    assert upstream_requests(stack, "/named", PUBLIC, clients) == [1, 2, 2, 2]


def test_head_response_is_not_served_to_get(stack: NginxStack) -> None:
    """Not even if the response has no Content-Length."""
    with fake_upstream(stack, headless) as requests:
        assert stack.request("HEAD", "/head", None).status == 200
        assert stack.get("/head").body == b"ok"
        assert stack.get("/head").body == b"ok"
        assert len(requests) <= 2


def headless(request: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\n{PUBLIC}Connection: close\r\n\r\n".encode()
    return head if b"HEAD" in request else head + b"ok"


def test_simultaneous_requests_are_sent_upstream_once(stack: NginxStack) -> None:
    def late(request: bytes) -> bytes:
        time.sleep(0.2)
        return respond_as_requested(request)

    with fake_upstream(stack, late) as requests, ThreadPoolExecutor(5) as pool:
        submitted = [pool.submit(stack.get, "/wanted", X_Respond=quote(PUBLIC)) for _ in range(5)]
        assert {response.result().body for response in submitted} == {b"ok"}
        assert len(requests) == 1


def test_response_that_is_not_public_is_not_cached(stack: NginxStack) -> None:
    with fake_upstream(stack, respond_as_requested) as requests:
        for fields in (
            "",
            "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nETag: x\r\n",
            "Cache-Control: private, max-age=60\r\n",
            "Cache-Control: no-store\r\n",
            "Cache-Control: no-cache\r\n",
            "Cache-Control: max-age=0\r\n",
            f"{PUBLIC}Set-Cookie: a=b\r\n",
            f"{PUBLIC}Vary: *\r\n",
        ):
            requests.clear()
            for _ in range(2):
                assert stack.get("/other", X_Respond=quote(fields)).body == b"ok"
            assert len(requests) == 2, fields


@pytest.mark.parametrize("client", [{"Authorization": "Bearer x"}, {"Cookie": "session=x"}])
def test_requests_with_credentials_bypass_the_cache(
    stack: NginxStack, client: dict[str, str]
) -> None:
    """Their responses are never stored, even if the application makes them public."""
    path = f"/own/{next(iter(client))}"
    clients = [client, client, {}, client, {}]
    assert upstream_requests(stack, path, PUBLIC, clients) == [1, 2, 3, 4, 4]


def test_errors_are_not_cached(stack: NginxStack) -> None:
    for _ in range(2):
        stack.get("/nothing").check_problem(404)
    stack.wait_until_logged('"nginx.cache":"MISS"', "my-service.log")
    lines = map(json.loads, (stack.directory / "my-service.log").read_text().splitlines())
    assert {line["nginx.cache"] for line in lines if line["url.path"] == "/nothing"} == {"MISS"}


def test_stale_response_is_served_while_the_service_is_down(stack: NginxStack) -> None:
    page = "/echo?Cache-Control=public,max-age=1"
    first, second = stack.get(page), stack.get(page)
    assert first.body == second.body
    second.check_headers()
    # The response is stored, but its request ID is the request's own.
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    time.sleep(2)
    with stack.without_service():
        for _ in range(3):
            stale = stack.get(page)
            assert (stale.status, stale.body) == (200, first.body)
        stack.get("/echo").check_problem(502)
    # The next request gets the stale response and updates the cache in the background.
    assert stack.get(page).body == first.body
    time.sleep(0.5)
    assert stack.get(page).body != first.body

"""The cache that deploy/nginx/SLUG-cache.conf offers, switched on as its comment says."""

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


def as_told(request: bytes) -> bytes:
    """Answer with the header fields that the request itself asks for."""
    (fields,) = re.findall("X-Answer: (.*)\r", request.decode())
    return f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{unquote(fields)}\r\nok".encode()


def reached(stack: NginxStack, path: str, fields: str, clients: list[dict[str, str]]) -> list[int]:
    """Return which of the clients' requests for one address came to the service."""
    with fake_upstream(stack, as_told) as requests:
        counts = []
        for client in clients:
            assert stack.get(path, X_Answer=quote(fields), **client).body == b"ok"
            counts.append(len(requests))
    return counts


def test_what_is_public_is_asked_for_once(stack: NginxStack) -> None:
    assert reached(stack, "/public", PUBLIC, [{}, {}, {}]) == [1, 1, 1]


def test_each_name_of_the_site_has_its_own(stack: NginxStack) -> None:
    clients = [{}, {"Host": OTHER_DOMAIN}, {}, {"Host": OTHER_DOMAIN}]
    assert reached(stack, "/named", PUBLIC, clients) == [1, 2, 2, 2]


def test_a_head_is_no_answer_to_a_get(stack: NginxStack) -> None:
    """Nor if its length is not told."""
    with fake_upstream(stack, headless) as requests:
        assert stack.request("HEAD", "/head", None).status == 200
        assert stack.get("/head").body == b"ok"
        assert stack.get("/head").body == b"ok"
        assert len(requests) <= 2


def headless(request: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\n{PUBLIC}Connection: close\r\n\r\n".encode()
    return head if b"HEAD" in request else head + b"ok"


def test_what_all_want_at_once_is_asked_for_once(stack: NginxStack) -> None:
    def late(request: bytes) -> bytes:
        time.sleep(0.2)
        return as_told(request)

    with fake_upstream(stack, late) as requests, ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(stack.get, "/wanted", X_Answer=quote(PUBLIC)) for _ in range(5)]
        assert {answer.result().body for answer in asked} == {b"ok"}
        assert len(requests) == 1


def test_what_is_not_public_is_never_kept(stack: NginxStack) -> None:
    with fake_upstream(stack, as_told) as requests:
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
                assert stack.get("/other", X_Answer=quote(fields)).body == b"ok"
            assert len(requests) == 2, fields


@pytest.mark.parametrize("client", [{"Authorization": "Bearer x"}, {"Cookie": "session=x"}])
def test_who_shows_who_he_is_gets_his_own(stack: NginxStack, client: dict[str, str]) -> None:
    """And it is kept for nobody, not even where the application says so."""
    path = f"/own/{next(iter(client))}"
    clients = [client, client, {}, client, {}]
    assert reached(stack, path, PUBLIC, clients) == [1, 2, 3, 4, 4]


def test_errors_are_not_kept(stack: NginxStack) -> None:
    for _ in range(2):
        stack.get("/nothing").check_problem(404)
    stack.wait_until_logged('"nginx.cache":"MISS"', "my-service.log")
    lines = map(json.loads, (stack.directory / "my-service.log").read_text().splitlines())
    assert {line["nginx.cache"] for line in lines if line["url.path"] == "/nothing"} == {"MISS"}


def test_a_public_page_survives_the_service(stack: NginxStack) -> None:
    page = "/echo?Cache-Control=public,max-age=1"
    first, second = stack.get(page), stack.get(page)
    assert first.body == second.body
    second.check_headers()
    # The answer is an old one, its id is this request's.
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    time.sleep(2)
    with stack.without_service():
        for _ in range(3):
            stale = stack.get(page)
            assert (stale.status, stale.body) == (200, first.body)
        stack.get("/echo").check_problem(502)
    # It is fetched anew behind the back of the next client.
    assert stack.get(page).body == first.body
    time.sleep(0.5)
    assert stack.get(page).body != first.body

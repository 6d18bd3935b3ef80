"""The cache that deploy/nginx/SLUG-cache.conf offers, switched on as its comment says."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from .chain import Chain
from .client import DOMAIN
from .test_combinations import NEWER, PACKAGES
from .upstream import upstream

CHAINS = [*(answers for answers in PACKAGES if answers["database"] == "none"), NEWER]
SNIPPETS = "/etc/nginx/snippets/my-service"
SITE = f"    location / {{\n        include {SNIPPETS}-proxy.conf;\n"
OTHER = "other.example.com"
PUBLIC = "Cache-Control: public, max-age=60\r\n"


def changed(project: Path) -> dict[str, str]:
    """Return what switches the cache on, as the snippet's comment says."""
    snippet = (project / "deploy/nginx/my-service-cache.conf").read_text()
    (zone,) = re.findall(r"^#     (\w+_cache_path .*)$", snippet, re.MULTILINE)
    return {
        f"server_name {DOMAIN};": f"server_name {DOMAIN} {OTHER};",
        "upstream my_service {\n": f"{zone}\nupstream my_service {{\n",
        SITE: f"{SITE}        include {SNIPPETS}-cache.conf;\n",
    }


def as_told(request: bytes) -> bytes:
    """Answer with the header fields that the request itself asks for."""
    (fields,) = re.findall("X-Answer: (.*)\r", request.decode())
    return f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{unquote(fields)}\r\nok".encode()


def reached(chain: Chain, path: str, fields: str, clients: list[dict[str, str]]) -> list[int]:
    """Return which of the clients' requests for one address came to the service."""
    with upstream(chain, as_told) as requests:
        counts = []
        for client in clients:
            assert chain.get(path, X_Answer=quote(fields), **client).body == b"ok"
            counts.append(len(requests))
    return counts


def test_what_is_public_is_asked_for_once(chain: Chain) -> None:
    assert reached(chain, "/public", PUBLIC, [{}, {}, {}]) == [1, 1, 1]


def test_each_name_of_the_site_has_its_own(chain: Chain) -> None:
    clients = [{}, {"Host": OTHER}, {}, {"Host": OTHER}]
    assert reached(chain, "/named", PUBLIC, clients) == [1, 2, 2, 2]


def test_a_head_is_no_answer_to_a_get(chain: Chain) -> None:
    """Nor if its length is not told."""
    with upstream(chain, headless) as requests:
        assert chain.request("HEAD", "/head", None).status == 200
        assert chain.get("/head").body == b"ok"
        assert chain.get("/head").body == b"ok"
        assert len(requests) <= 2


def headless(request: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\n{PUBLIC}Connection: close\r\n\r\n".encode()
    return head if b"HEAD" in request else head + b"ok"


def test_what_all_want_at_once_is_asked_for_once(chain: Chain) -> None:
    def late(request: bytes) -> bytes:
        time.sleep(0.2)
        return as_told(request)

    with upstream(chain, late) as requests, ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(chain.get, "/wanted", X_Answer=quote(PUBLIC)) for _ in range(5)]
        assert {answer.result().body for answer in asked} == {b"ok"}
        assert len(requests) == 1


def test_what_is_not_public_is_never_kept(chain: Chain) -> None:
    with upstream(chain, as_told) as requests:
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
                assert chain.get("/other", X_Answer=quote(fields)).body == b"ok"
            assert len(requests) == 2, fields


@pytest.mark.parametrize("client", [{"Authorization": "Bearer x"}, {"Cookie": "session=x"}])
def test_who_shows_who_he_is_gets_his_own(chain: Chain, client: dict[str, str]) -> None:
    """And it is kept for nobody, not even where the application says so."""
    path = f"/own/{next(iter(client))}"
    clients = [client, client, {}, client, {}]
    assert reached(chain, path, PUBLIC, clients) == [1, 2, 3, 4, 4]


def test_errors_are_not_kept(chain: Chain) -> None:
    for _ in range(2):
        chain.get("/nothing").check_problem(404)
    chain.wait_until_logged('"nginx.cache":"MISS"', "my-service.log")
    lines = map(json.loads, (chain.directory / "my-service.log").read_text().splitlines())
    assert {line["nginx.cache"] for line in lines if line["url.path"] == "/nothing"} == {"MISS"}


def test_a_public_page_survives_the_service(chain: Chain) -> None:
    page = "/echo?Cache-Control=public,max-age=1"
    first, second = chain.get(page), chain.get(page)
    assert first.body == second.body
    second.check_headers()
    # The answer is an old one, its id is this request's.
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    time.sleep(2)
    with chain.without_service():
        for _ in range(3):
            stale = chain.get(page)
            assert (stale.status, stale.body) == (200, first.body)
        chain.get("/echo").check_problem(502)
    # It is fetched anew behind the back of the next client.
    assert chain.get(page).body == first.body
    time.sleep(0.5)
    assert chain.get(page).body != first.body

"""Limits on rate, connections and time of one client, without effect on other clients."""

import contextlib
import http.client
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ..support.fake_upstream import fake_upstream
from ..support.fixtures import Needs
from ..support.http_client import DOMAIN
from ..support.matrix import NEWER_NGINX, WITHOUT_DATABASE
from ..support.nginx_stack import NginxStack

STACKS = [*WITHOUT_DATABASE, NEWER_NGINX]
BALANCER = "127.0.0.9"
TIMEOUT = 2
CHUNKED = "Transfer-Encoding: chunked"
HEAD = f"Host: {DOMAIN}\r\n"


def site_changes(project: Path) -> dict[str, str]:
    """Shorten the time limits, and enable the load balancer of the file's comment."""
    server = "uwsgi" if (project / "uwsgi.ini").exists() else "proxy"
    return {
        "client_header_timeout 10s;": "client_header_timeout 2s;",
        "client_body_timeout 10s;": "client_body_timeout 2s;",
        "send_timeout 10s;": "send_timeout 2s;",
        "keepalive_timeout 30s;": "keepalive_timeout 2s;",
        f"{server}_read_timeout 30s;": f"{server}_read_timeout 1s;",
        "# set_real_ip_from 192.0.2.1;": f"set_real_ip_from {BALANCER};",
        "# real_ip_": "real_ip_",
    }


def partial_request(stack: NginxStack) -> bytes:
    """Return the beginning of a request whose handler needs the whole body."""
    head = f"POST /api/v1/greetings HTTP/1.1\r\n{HEAD}Authorization: Bearer {stack.token}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{{".encode()


def responses(stack: NginxStack, requests: list[str], source: str) -> list[str]:
    """Send all requests over one connection; return each response from its status on."""
    whole = "".join(f"GET /livez HTTP/1.1\r\n{HEAD}{fields}\r\n" for fields in requests)
    end = f"GET /livez HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n"
    received = stack.raw(f"{whole}{end}".encode(), source=source)
    return received.decode().split("HTTP/1.1 ")[1:-1]


def test_request_rate_is_limited(stack: NginxStack) -> None:
    began = time.monotonic()
    received = responses(stack, [""] * 400, "127.0.0.2")
    seconds = time.monotonic() - began
    assert stack.get("/livez").status == 200
    passed = [response for response in received if response.startswith("200 ")]
    refused = [response for response in received if response.startswith("429 ")]
    assert len(passed) + len(refused) == 400
    # The burst, and 50 requests in each second.
    assert 101 <= len(passed) <= 102 + 50 * seconds
    for response in refused:
        assert "\r\nRetry-After: 5\r\n" in response
        assert json.loads(response.partition("\r\n\r\n")[2])["status"] == 429
    stack.wait_until_logged('"nginx.limit.requests":"REJECTED"', "my-service.log")
    assert re.search(r"\[warn\] .* limiting requests", (stack.directory / "error.log").read_text())
    time.sleep(1)
    received = responses(stack, [""] * 100, "127.0.0.2")
    assert len([response for response in received if response.startswith("200 ")]) >= 45


def test_client_behind_a_balancer_is_limited_by_its_address(stack: NginxStack) -> None:
    """A client is an IPv4 address or an IPv6 /64 prefix, because one client usually has a whole /64."""
    chains = f"6.6.6.6, 203.0.113.9, {BALANCER}"
    for source, seen in ((BALANCER, "203.0.113.9"), ("127.0.0.1", "127.0.0.1")):
        response = stack.request("GET", "/echo", None, source, X_Forwarded_For=chains)
        assert f'"REMOTE_ADDR":"{seen}"' in response.body.decode()
    neighbours = [f"X-Forwarded-For: 2001:db8::{number:x}:1\r\n" for number in range(200)]
    received = responses(stack, neighbours, BALANCER)
    assert {response[:4] for response in received} == {"200 ", "429 "}
    others = [f"X-Forwarded-For: 2001:db8:0:{number:x}::1\r\n" for number in range(1, 200)]
    received = responses(stack, others, BALANCER)
    assert {response[:4] for response in received} == {"200 "}


def test_connections_are_limited(stack: NginxStack) -> None:
    """A client has 100 connections. Its unfinished requests do not delay other clients."""
    with contextlib.ExitStack() as open_ones:
        for _ in range(100):
            open_ones.enter_context(stack.connect("127.0.0.3")).sendall(partial_request(stack))
        began = time.monotonic()
        assert stack.get("/livez").status == 200
        assert time.monotonic() - began < 5  # Nginx waits 10 s for the rest of a request
        refused = stack.request("GET", "/livez", None, "127.0.0.3")
        refused.check_problem(429)
        assert refused.headers["Retry-After"] == "5"
    stack.wait_until_logged('"nginx.limit.connections":"REJECTED"', "my-service.log")
    log = (stack.directory / "error.log").read_text()
    assert re.search(r"\[warn\] .* limiting connections", log)


def drip(channel: socket.socket) -> None:
    channel.sendall(b"X")


def seconds_until_closed(
    channel: socket.socket, go_on: Callable[[socket.socket], None] | None = None
) -> float:
    """Return the seconds until Nginx closes the connection."""
    began = time.monotonic()
    channel.settimeout(0.2)
    with channel, contextlib.suppress(ConnectionError):
        while True:
            with contextlib.suppress(TimeoutError):
                if not channel.recv(65536):
                    break
                began = time.monotonic()
            if go_on:
                go_on(channel)
            assert time.monotonic() - began < 10
    return time.monotonic() - began


def slow_connections(
    stack: NginxStack,
) -> Iterator[tuple[socket.socket, Callable[[socket.socket], None] | None]]:
    """Yield slow connections of each kind, and the function that keeps the connection busy."""
    yield stack.plain(stack.http), None
    yield stack.plain(stack.https), None
    yield stack.connect(), None
    redirected = stack.plain(stack.http)
    redirected.sendall(f"GET / HTTP/1.1\r\n{HEAD}\r\n".encode())
    yield redirected, None
    for begin, go_on in (
        (b"GET /livez HTTP/1.1\r\nX: ", drip),
        (partial_request(stack), None),
        (f"GET /livez HTTP/1.1\r\n{HEAD}\r\n".encode(), None),
    ):
        channel = stack.connect()
        channel.sendall(begin)
        yield channel, go_on


def test_slow_clients_are_disconnected(stack: NginxStack) -> None:
    with ThreadPoolExecutor(8) as pool:
        waited = [pool.submit(seconds_until_closed, *each) for each in slow_connections(stack)]
    assert [round(each.result(), 1) for each in waited] == pytest.approx([TIMEOUT] * 7, abs=1)
    # Nginx resets the connection and discards unsent data (TLS would hide the reset).
    with stack.plain(stack.http) as channel:
        channel.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises(ConnectionResetError):
            channel.recv(1)


def test_slow_readers_are_disconnected(stack: NginxStack) -> None:
    (stack.directory / "static" / "large").write_bytes(b"x" * 20_000_000)
    with stack.connect() as channel:
        channel.sendall(f"GET /static/large HTTP/1.1\r\n{HEAD}\r\n".encode())
        time.sleep(TIMEOUT + 1)
        received = 0
        with contextlib.suppress(ConnectionError):
            while chunk := channel.recv(65536):
                received += len(chunk)
        assert 0 < received < 20_000_000


def test_hanging_service_is_504(stack: NginxStack) -> None:
    with fake_upstream(stack, lambda _: b"", hold=True) as requests:
        response = stack.request("POST", "/echo", b"x")
        response.check_problem(504)
        assert response.headers["Retry-After"] == "5"
        assert len(requests) == 1


def test_stream_that_fails_is_cut(stack: NginxStack, needs: Needs) -> None:
    """Otherwise the client would take the part that it has received for the whole."""
    needs("curl")
    with pytest.raises(http.client.IncompleteRead):
        stack.get("/broken-stream")
    with pytest.raises(subprocess.CalledProcessError):
        stack.curl("GET", "/broken-stream", None)


def test_error_pages_are_problems_and_cannot_be_requested(stack: NginxStack) -> None:
    """The tests cause some of these errors only, so this one reads the other pages."""
    (errors,) = stack.project.glob("deploy/nginx/*-errors.conf")
    pages = re.findall(r"(?ms)^location = (/_err/\d+) \{$(.*?)^\}$", errors.read_text())
    assert len(pages) > 10
    for page, body in pages:
        assert "    default_type application/problem+json;\n" in body, page
        stack.get(page).check_problem(404)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_nginx_error_is_a_problem_in_each_version(
    stack: NginxStack, needs: Needs, version: str
) -> None:
    """With HTTP/2, Nginx would reject the internal redirect to its error page with 413 again."""
    needs("curl")

    def check(
        status: int, method: str, path: str, *options: str, body: bytes | None = None
    ) -> None:
        response = stack.curl(method, path, body, version, *options)
        response.check_problem(status)
        assert ("Retry-After" in response.headers) == (status in (429, 502, 503, 504))

    too_large = b"x" * (2**20 + 1)
    check(400, "GET", "/%00")
    check(404, "GET", "/static/nothing")
    check(404, "POST", "/metrics", body=b"x" * 100_000)
    check(405, "POST", "/static/app.css", body=b"x" * 100_000)
    check(405, "DELETE", "/static/app.css")
    for path in ("/echo", "/nothing"):
        check(413, "POST", path, body=too_large)
        check(413, "PUT", path, "--header", CHUNKED, body=too_large)
    check(413, "POST", "/static/app.css", body=too_large)
    check(412, "GET", "/static/app.css", "--header", 'If-Match: "another"')
    check(416, "GET", "/static/app.css", "--range", "9999999-")
    check(421, "GET", "/", "--header", "Host: other.example.com")
    with contextlib.ExitStack() as open_ones:
        for _ in range(100):
            open_ones.enter_context(stack.connect("127.0.0.4")).sendall(partial_request(stack))
        check(429, "GET", "/livez", "--interface", "127.0.0.4")
    with fake_upstream(stack, lambda _: b""):
        check(502, "POST", "/echo", body=b"x")
    with fake_upstream(stack, lambda _: b"", hold=True):
        check(504, "POST", "/echo", body=b"x")


def test_only_idempotent_requests_are_retried(stack: NginxStack) -> None:
    """The upstream closes the connection without a response, as a killed worker does."""
    with fake_upstream(stack, lambda _: b"") as requests:
        for method, times in (("GET", 2), ("PUT", 2), ("POST", 1), ("PATCH", 1)):
            stack.request(method, "/echo", b"x").check_problem(502)
            assert len(requests) == times
            requests.clear()

"""How much and for how long one client may ask, and that others do not notice."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ..support.fake_upstream import fake_upstream
from ..support.http_client import DOMAIN
from ..support.matrix import NEWER_NGINX, WITHOUT_DATABASE
from ..support.nginx_stack import NginxStack

STACKS = [*WITHOUT_DATABASE, NEWER_NGINX]
BALANCER = "127.0.0.9"
TIMEOUT = 2
HEAD = f"Host: {DOMAIN}\r\n"


def site_changes(project: Path) -> dict[str, str]:
    """The same limits in less time, and the balancer that the file has as a comment."""
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


def half(stack: NginxStack) -> bytes:
    """Return the beginning of a request whose handler wants the whole of it."""
    head = f"POST /api/v1/greetings HTTP/1.1\r\n{HEAD}Authorization: Bearer {stack.token}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{{".encode()


def answers(stack: NginxStack, requests: list[str], source: str) -> list[str]:
    """Send all requests over one connection, and return the answer to each, from its status on."""
    whole = "".join(f"GET /livez HTTP/1.1\r\n{HEAD}{fields}\r\n" for fields in requests)
    end = f"GET /livez HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n"
    received = stack.raw(f"{whole}{end}".encode(), source=source)
    return received.decode().split("HTTP/1.1 ")[1:-1]


def test_requests(stack: NginxStack) -> None:
    began = time.monotonic()
    received = answers(stack, [""] * 400, "127.0.0.2")
    seconds = time.monotonic() - began
    assert stack.get("/livez").status == 200
    passed = [answer for answer in received if answer.startswith("200 ")]
    refused = [answer for answer in received if answer.startswith("429 ")]
    assert len(passed) + len(refused) == 400
    # A burst, and 50 more in each second.
    assert 101 <= len(passed) <= 102 + 50 * seconds
    for answer in refused:
        assert "\r\nRetry-After: 5\r\n" in answer
        assert json.loads(answer.partition("\r\n\r\n")[2])["status"] == 429
    stack.wait_until_logged('"nginx.limit.requests":"REJECTED"', "my-service.log")
    assert re.search(r"\[warn\] .* limiting requests", (stack.directory / "error.log").read_text())
    time.sleep(1)
    received = answers(stack, [""] * 100, "127.0.0.2")
    assert len([answer for answer in received if answer.startswith("200 ")]) >= 45


def test_the_client_behind_a_balancer(stack: NginxStack) -> None:
    """It counts by its own address, of which the half that a provider gives counts for IPv6."""
    chains = f"6.6.6.6, 203.0.113.9, {BALANCER}"
    for source, seen in ((BALANCER, "203.0.113.9"), ("127.0.0.1", "127.0.0.1")):
        answer = stack.request("GET", "/echo", None, source, X_Forwarded_For=chains)
        assert f'"REMOTE_ADDR":"{seen}"' in answer.body.decode()
    neighbours = [f"X-Forwarded-For: 2001:db8::{number:x}:1\r\n" for number in range(200)]
    received = answers(stack, neighbours, BALANCER)
    assert {answer[:4] for answer in received} == {"200 ", "429 "}
    others = [f"X-Forwarded-For: 2001:db8:0:{number:x}::1\r\n" for number in range(1, 200)]
    received = answers(stack, others, BALANCER)
    assert {answer[:4] for answer in received} == {"200 "}


def test_connections_and_slow_uploads(stack: NginxStack) -> None:
    """A hundred at a time; what they leave unfinished keeps nobody else waiting."""
    with contextlib.ExitStack() as open_ones:
        for _ in range(100):
            open_ones.enter_context(stack.connect("127.0.0.3")).sendall(half(stack))
        began = time.monotonic()
        assert stack.get("/livez").status == 200
        assert time.monotonic() - began < 1
        refused = stack.request("GET", "/livez", None, "127.0.0.3")
        refused.check_problem(429)
        assert refused.headers["Retry-After"] == "5"
    stack.wait_until_logged('"nginx.limit.connections":"REJECTED"', "my-service.log")
    log = (stack.directory / "error.log").read_text()
    assert re.search(r"\[warn\] .* limiting connections", log)


def drip(channel: socket.socket) -> None:
    channel.sendall(b"X")


def ends(channel: socket.socket, go_on: Callable[[socket.socket], None] | None = None) -> float:
    """Return after how many seconds Nginx closes the connection."""
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


def slow(
    stack: NginxStack,
) -> Iterator[tuple[socket.socket, Callable[[socket.socket], None] | None]]:
    """Connections that do not get on, each in another way, and what keeps them busy."""
    yield stack.plain(stack.http), None
    yield stack.plain(stack.https), None
    yield stack.connect(), None
    redirected = stack.plain(stack.http)
    redirected.sendall(f"GET / HTTP/1.1\r\n{HEAD}\r\n".encode())
    yield redirected, None
    for begin, go_on in (
        (b"GET /livez HTTP/1.1\r\nX: ", drip),
        (half(stack), None),
        (f"GET /livez HTTP/1.1\r\n{HEAD}\r\n".encode(), None),
    ):
        channel = stack.connect()
        channel.sendall(begin)
        yield channel, go_on


def test_slow_clients_are_cut_off(stack: NginxStack) -> None:
    with ThreadPoolExecutor(8) as pool:
        waited = [pool.submit(ends, *each) for each in slow(stack)]
    assert [round(each.result(), 1) for each in waited] == pytest.approx([TIMEOUT] * 7, abs=1)
    # Nothing of them is kept until they have taken the last byte. (TLS would hide the reset.)
    with stack.plain(stack.http) as channel:
        channel.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises(ConnectionResetError):
            channel.recv(1)


def test_slow_readers_are_cut_off(stack: NginxStack) -> None:
    (stack.directory / "static" / "large").write_bytes(b"x" * 20_000_000)
    with stack.connect() as channel:
        channel.sendall(f"GET /static/large HTTP/1.1\r\n{HEAD}\r\n".encode())
        time.sleep(TIMEOUT + 1)
        received = 0
        with contextlib.suppress(ConnectionError):
            while chunk := channel.recv(65536):
                received += len(chunk)
        assert 0 < received < 20_000_000


def test_a_service_that_does_not_answer(stack: NginxStack) -> None:
    with fake_upstream(stack, lambda _: b"", hold=True) as requests:
        answer = stack.request("POST", "/echo", b"x")
        answer.check_problem(504)
        assert answer.headers["Retry-After"] == "5"
        assert len(requests) == 1


def test_only_what_may_be_repeated_is_tried_again(stack: NginxStack) -> None:
    """The service's connection ends without an answer, as that of a worker that was killed."""
    with fake_upstream(stack, lambda _: b"") as requests:
        for method, times in (("GET", 2), ("PUT", 2), ("POST", 1), ("PATCH", 1)):
            stack.request(method, "/echo", b"x").check_problem(502)
            assert len(requests) == times
            requests.clear()

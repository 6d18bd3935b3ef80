"""Hostile requests: smuggling, hidden paths and forged headers."""

import json
import re

import pytest

from ..support.fake_upstream import fake_upstream
from ..support.http_client import DOMAIN, HEADERS
from ..support.matrix import NEWER_NGINX, WITHOUT_DATABASE
from ..support.nginx_stack import NginxStack

STACKS = [*WITHOUT_DATABASE, NEWER_NGINX]
HOST = f"Host: {DOMAIN}\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
# A parser that ends the first request too early reads this as the next one.
SMUGGLED = f"GET /smuggled HTTP/1.1\r\n{HOST}\r\n"


def post(fields: str, body: str = "", version: str = "1.1") -> str:
    return f"POST /echo HTTP/{version}\r\n{HOST}{fields}\r\n{body}"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        # Which host?
        (f"GET /livez HTTP/1.1\r\n\r\n{SMUGGLED}", 400),
        (f"GET /livez HTTP/1.1\r\n{HOST}Host: evil.example\r\n\r\n{SMUGGLED}", 400),
        (f"GET /livez HTTP/1.1\r\n{HOST}{HOST}\r\n{SMUGGLED}", 400),
        (f"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n{SMUGGLED}", 400),
        # Where does the body end?
        (post(f"Content-Length: 4\r\n{CHUNKED}", f"0\r\n\r\n{SMUGGLED}"), 400),
        (post(f"{CHUNKED}Content-Length: 4\r\n", f"0\r\n\r\n{SMUGGLED}"), 400),
        (post("Content-Length: 4\r\nContent-Length: 5\r\n", f"0\r\n\r\n{SMUGGLED}"), 400),
        (post("Content-Length: 4\r\nContent-Length: 4\r\n", f"0\r\n\r\n{SMUGGLED}"), 400),
        *[(post(f"Content-Length: {n}\r\n", SMUGGLED), 400) for n in ("-1", "+3", "0x3", "3, 3")],
        *[
            (post(f"{name}: {coding}\r\n", f"0\r\n\r\n{SMUGGLED}"), status)
            for name, coding, status in (
                ("Transfer-Encoding", "xchunked", 501),
                ("Transfer-Encoding", "gzip, chunked", 501),
                ("Transfer-Encoding", "chunked, chunked", 501),
                ("Transfer-Encoding", "\x0bchunked", 501),
                ("Transfer-Encoding", "identity", 501),
                ("Transfer-Encoding", "", 501),
                ("Transfer-Encoding ", "chunked", 400),
                ("Transfer-Encoding", "chunked\r\nTransfer-Encoding: identity", 400),
            )
        ],
        (post(CHUNKED, f"0\r\n\r\n{SMUGGLED}", version="1.0"), 400),
        *[
            (post(CHUNKED, f"{size}\r\nx\r\n0\r\n\r\n{SMUGGLED}"), 400)
            for size in ("zz", "-1", "0x1", "", "fffffffffffffffff1")
        ],
        (post(CHUNKED, f"1\r\nxy\r\n0\r\n\r\n{SMUGGLED}"), 400),
        # Where does a header end?
        (post(f"X: a\r\n {CHUNKED}", SMUGGLED), 400),
        (post("X: a\x00b\r\n", SMUGGLED), 400),
        (post("X: a\rb\r\n", SMUGGLED), 400),
        # Which method and target?
        ("GET /\x01 HTTP/1.1\r\n" + HOST + "\r\n", 400),
        ("GET /a b HTTP/1.1\r\n" + HOST + "\r\n", 400),
        ("GET /%00 HTTP/1.1\r\n" + HOST + "\r\n", 400),
        ("GET /../livez HTTP/1.1\r\n" + HOST + "\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\n" + HOST + "\r\n", 400),
        ("CONNECT a:443 HTTP/1.1\r\n" + HOST + "\r\n", 400),
        ("get /livez HTTP/1.1\r\n" + HOST + "\r\n", 400),
        ("NONSENSE\r\n\r\n", 400),
        ("GET /livez HTTP/3.7\r\n" + HOST + "\r\n", 505),
        # How much of it?
        (f"GET /{'x' * 9000} HTTP/1.1\r\n{HOST}\r\n", 414),
        (f"GET / HTTP/1.1\r\n{HOST}X: {'x' * 9000}\r\n\r\n", 431),
        (post("Content-Length: 1048577\r\n"), 413),
        (post("Expect: 100-continue\r\nContent-Length: 1048577\r\n"), 413),
        (post(CHUNKED, f"100001\r\n{'x' * 0x100001}\r\n0\r\n\r\n"), 413),
    ],
)  # fmt: skip
def test_invalid_request_is_rejected_by_nginx(
    stack: NginxStack, request_bytes: str, status: int
) -> None:
    log = stack.directory / "service.log"
    before = log.stat().st_size
    response = stack.raw(request_bytes.encode("latin-1"))
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert response.count(b"HTTP/1.1 ") == 1
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert json.loads(body)["status"] == status
    for name in HEADERS:
        assert len(re.findall(rb"(?i)\r\n%s: " % name.encode(), head)) == 1
    assert b"/smuggled" not in log.read_bytes()[before:]


def test_invalid_header_is_rejected_by_the_server(stack: NginxStack) -> None:
    """Nginx and uWSGI accept these headers. The other servers reject them with a problem document."""
    refused = b"200" if (stack.project / "uwsgi.ini").exists() else b"400|431"
    fields = ["X: a\x01b", "X: a\x7fb"]
    if (stack.project / "gunicorn.conf.py").exists():
        fields += ["Content-Type: a/b\r\nContent-Type: c/d"]
        fields += ["\r\n".join(f"X-{number}: 1" for number in range(120))]
    for field in fields:
        response = stack.raw(post(f"{field}\r\nConnection: close\r\n").encode())
        assert re.match(b"HTTP/1.1 (%s) " % refused, response)
        assert response.count(b"\r\nX-Request-ID: ") == 1
        if b" 200 " not in response.splitlines()[0]:
            assert b"\r\nContent-Type: application/problem+json\r\n" in response
            assert json.loads(response.partition(b"\r\n\r\n")[2])["type"] == "about:blank"


def test_long_and_many_headers_pass(stack: NginxStack) -> None:
    """Nginx accepts these headers; Gunicorn limits their number."""
    long = "x" * 8000
    for path, fields in (
        (f"/livez?{long}", {}),
        ("/livez", {"X": long}),
        ("/livez", {f"X{number}": long for number in range(3)}),
        ("/livez", {f"X{number}": "1" for number in range(90)}),
    ):
        assert stack.get(path, **fields).status == 200
    many = {f"X{number}": "1" for number in range(900)}
    limited = (stack.project / "gunicorn.conf.py").exists()
    assert stack.get("/livez", **many).status == (431 if limited else 200)


def test_pipelined_requests_get_two_responses(stack: NginxStack) -> None:
    body = "5\r\nhello\r\n0\r\n\r\n"
    both = post(CHUNKED, body) + f"GET /nothing HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"
    responses = re.findall(rb"HTTP/1.1 (\d+)", stack.raw(both.encode()))
    assert responses == [b"200", b"404"]


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "BREW", "M-SEARCH"])
def test_unknown_method_is_405(stack: NginxStack, method: str) -> None:
    response = stack.request(method, "/livez", None)
    response.check_problem(405)
    assert "GET, HEAD" in response.headers["Allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/metrics", "/metrics?x", "/metrics#x", "//metrics", "/./metrics", "/x/../metrics",
        "/%6detrics", "/metrics/", "/metrics/.", "/metrics;x", "/metrics%20", "/metrics%2f",
        "/metrics%0a", "/metrics%85", "/metrics\xa0", "/m%85etrics", "/%ffmetrics", "/\xffmetrics",
        "/%c0%afmetrics", "/static/../metrics", "/static/..%2fmetrics", f"https://{DOMAIN}/metrics",
    ],
)  # fmt: skip
def test_metrics_are_not_public(stack: NginxStack, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\n{HOST}Authorization: Bearer {stack.token}\r\n"
    for method in ("GET", "PUT"):
        request = head.replace("GET", method, 1)
        response = stack.raw(f"{request}Connection: close\r\n\r\n".encode("latin-1"))
        assert re.match(rb"HTTP/1.1 (400|404) ", response)
        assert b"# HELP" not in response


def test_forged_proxy_headers_are_dropped(stack: NginxStack) -> None:
    forged = {
        "Forwarded": "for=6.6.6.6;proto=http;host=evil.example",
        "Path_Info": "/evil",
        "Proxy": "evil.example",
        "Remote_User": "root",
        "Script_Name": "/evil",
        "X_Forwarded_For": "6.6.6.6",
        "X_Forwarded_Host": "evil.example",
        "X_Forwarded_Port": "666",
        "X_Forwarded_Prefix": "/evil",
        "X_Forwarded_Proto": "http",
        "X_Forwarded_Protocol": "http",
        "X_Forwarded_Server": "evil.example",
        "X_Forwarded_Ssl": "off",
        "X_Forwarded_User": "root",
        "X_Original_URL": "/evil",
        "X_Real_IP": "6.6.6.6",
        "X_Remote_User": "root",
        "X_Rewrite_URL": "/evil",
    }
    with fake_upstream(stack, lambda _: b"HTTP/1.1 204 No Content\r\n\r\n") as requests:
        stack.get("/echo", **forged)
    first, *fields = requests[0].decode().split("\r\n")[:-2]
    assert first == "GET /echo HTTP/1.1"
    sent = dict(line.split(": ", 1) for line in fields)
    kept = "keepalive 32;" in (stack.directory / "my-service.conf").read_text()
    uwsgi = (stack.project / "uwsgi.ini").exists()
    assert sent.get("Connection") == (None if kept or uwsgi else "close")
    expected = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"}
    assert {name: sent[name] for name in sent if name.replace("-", "_") in forged} == expected
    seen = json.loads(stack.get("/echo", **forged).body)
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert seen["wsgi.url_scheme"] == "https"
    assert seen["HTTP_HOST"] == DOMAIN
    assert seen["PATH_INFO"] == "/echo"
    assert seen.get("SCRIPT_NAME", "") == ""
    assert not {f"HTTP_{name.upper()}" for name in forged} & set(seen)
    assert "evil" not in json.dumps(seen)


def test_retry_after_is_added_to_429_and_5xx(stack: NginxStack) -> None:
    with fake_upstream(
        stack, lambda request: request.partition(b"Respond: ")[2].replace(b"|", b"\r\n")
    ):
        for status in (429, 502, 503, 504):
            for own, expected in (("", ["5"]), ("Retry-After: 7|", ["7"])):
                response = stack.get("/", Respond=f"HTTP/1.1 {status} No|Content-Length: 0|{own}|")
                assert (response.status, response.headers.get_all("Retry-After")) == (
                    status,
                    expected,
                )


def test_host_is_that_of_the_absolute_url(stack: NginxStack) -> None:
    head = f"GET https://{DOMAIN}/echo HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    seen = json.loads(stack.raw(head.encode()).partition(b"\r\n\r\n")[2])
    assert seen["HTTP_HOST"] == DOMAIN


def test_headers_with_underscores_are_dropped(stack: NginxStack) -> None:
    head = f"GET /echo HTTP/1.1\r\n{HOST}Connection: close\r\n"
    response = stack.raw(f"{head}X_Forwarded_For: 6.6.6.6\r\nScript_Name: /evil\r\n\r\n".encode())
    assert b" 200 " in response.splitlines()[0]
    assert b"6.6.6.6" not in response
    assert b"evil" not in response

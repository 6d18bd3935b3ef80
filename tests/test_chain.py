"""The generated service behind the generated Nginx site: Nginx → unix socket → server, over TLS."""

import json
import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .chain import DOMAIN, Answer, Chain
from .conftest import Generate
from .template import name_of, run
from .test_combinations import GROUPS, LONGEST

HEADERS = [
    "Cache-Control",
    "Content-Security-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "Referrer-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-Request-ID",
]

# What reached the application, told by a plain Bottle handler.
ECHO = """
    def echo() -> dict[str, str]:
        from bottle import request

        seen = request.environ
        return {name: str(seen[name]) for name in seen if name.isupper() or name == "wsgi.url_scheme"}

    app.route("/echo", "GET", echo, raw=True, public=True)
"""


@pytest.fixture(scope="module", params=GROUPS, ids=name_of)
def chain(
    request: pytest.FixtureRequest,
    generated: Generate,
    needs: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Chain]:
    needs("nginx", "openssl")
    directory = tmp_path_factory.mktemp("chain")
    project = directory / "project"
    shutil.copytree(generated(**request.param), project)
    with (project / "src/my_service/routes/__init__.py").open("a") as table:
        table.write(ECHO)
    with Chain(project, directory).running() as chain:
        yield chain


def check_problem(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    check_headers(answer)


def check_headers(answer: Answer) -> None:
    found = {name: len(answer.headers.get_all(name, [])) for name in HEADERS}
    assert found == dict.fromkeys(HEADERS, 1)


def test_nginx_takes_the_longest_names(
    generated: Generate, needs: Callable[..., None], tmp_path: Path
) -> None:
    needs("nginx", "openssl")
    longest = Chain(generated(**LONGEST), tmp_path, LONGEST["project_slug"])
    longest.write_files()
    done = subprocess.run(longest.nginx("-t"), check=False, capture_output=True, text=True)
    assert "test is successful" in done.stderr
    assert "[warn]" not in done.stderr


def test_nginx_finds_nothing_to_warn_of(chain: Chain) -> None:
    done = subprocess.run(chain.nginx("-t", "-q"), check=True, capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if chain.directory.name not in line] == []
    assert "[warn]" not in done.stderr
    assert "[emerg]" not in done.stderr


def test_shared_cases(chain: Chain) -> None:
    """The cases that the generated suite runs in its own process."""
    summary = run(
        "pytest", "--server", f"https://{DOMAIN}", "--connect", f"127.0.0.1:{chain.https}",
        "--token", chain.token, cwd=chain.project, SSL_CERT_FILE=str(chain.certificate),
    )  # fmt: skip
    (passed,) = re.findall(r"^(\d+) shared cases passed", summary, re.MULTILINE)
    collected = run("pytest", "--collect-only", cwd=chain.project)
    assert int(passed) == len(re.findall(r"test_(?:http|notes|greetings)\.py::", collected))


@pytest.mark.parametrize(
    ("path", "status"), [("/livez", 200), ("/", 200), ("/static/app.css", 200), ("/nothing", 404)]
)
def test_headers_stand_once(chain: Chain, path: str, status: int) -> None:
    answer = chain.get(path)
    assert answer.status == status
    check_headers(answer)


def test_nginx_serves_static_files(chain: Chain) -> None:
    sheet = chain.project / "src/my_service/static/app.css"
    answer = chain.get("/static/app.css")
    assert answer.body == sheet.read_bytes()
    assert answer.headers["Content-Type"] == "text/css"
    assert answer.headers["Cache-Control"] == "no-cache"
    chain.stop_service()
    try:
        assert chain.get("/static/app.css").status == 200
        assert chain.get("/static/app.css", If_None_Match=answer.headers["ETag"]).status == 304
        part = chain.get("/static/app.css", Range="bytes=0-4")
        assert (part.status, part.body) == (206, sheet.read_bytes()[:5])
        check_problem(chain.get("/static/app.css", Range="bytes=9999999-"), 416)
        for path in ("/static/none.css", "/static/", "/static/.git/config", "/static/../app.py"):
            assert chain.get(path).status in (404, 502)
        check_problem(chain.request("POST", "/static/app.css", b"x"), 403)
    finally:
        chain.start_service()


def test_static_files_do_not_reach_outside(chain: Chain) -> None:
    for path in ("/static../settings.py", "/static/..%2fsettings.py", "/static/%2e%2e/settings.py"):
        assert chain.get(path).status in (400, 404)


def test_without_the_service(chain: Chain) -> None:
    chain.stop_service()
    try:
        for method in ("GET", "POST"):
            answer = chain.request(method, "/livez", None)
            check_problem(answer, 502)
            assert answer.headers["Retry-After"] == "5"
    finally:
        chain.start_service()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/3.7\r\nHost: a\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            400,
        ),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)
def test_requests_that_nginx_refuses(chain: Chain, request_head: bytes, status: int) -> None:
    head, _, body = chain.raw(request_head).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert json.loads(body)["status"] == status
    for name in HEADERS:
        assert len(re.findall(rb"(?i)\r\n%s: " % name.encode(), head)) == 1


def test_who_calls_is_what_nginx_knows(chain: Chain) -> None:
    forged = {
        "Forwarded": "for=6.6.6.6;proto=http;host=evil.example",
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
        "Path_Info": "/evil",
        "Proxy": "evil.example",
        "Remote_User": "root",
        "Script_Name": "/evil",
    }
    seen = json.loads(chain.get("/echo", **forged).body)
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert seen["wsgi.url_scheme"] == "https"
    assert seen["HTTP_HOST"] == DOMAIN
    assert seen["PATH_INFO"] == "/echo"
    assert seen.get("SCRIPT_NAME", "") == ""
    assert not {f"HTTP_{name.upper()}" for name in forged} & set(seen)
    assert "evil" not in json.dumps(seen)


def test_underscores_do_not_pass_for_hyphens(chain: Chain) -> None:
    head = f"GET /echo HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n"
    answer = chain.raw(f"{head}X_Forwarded_For: 6.6.6.6\r\nScript_Name: /evil\r\n\r\n".encode())
    assert b" 200 " in answer.splitlines()[0]
    assert b"6.6.6.6" not in answer
    assert b"evil" not in answer


def test_one_id_from_end_to_end(chain: Chain) -> None:
    for given in ("chain-given-id.1", "bad id", None):
        answer = chain.get("/echo", **({"X_Request_ID": given} if given else {}))
        own = answer.headers["X-Request-ID"]
        assert (own == given) == (given == "chain-given-id.1")
        assert json.loads(answer.body)["HTTP_X_REQUEST_ID"] == own
        for log in ("service.log", "my-service.log"):
            chain.wait_until_logged(own, log)


def test_every_log_line_is_json(chain: Chain) -> None:
    head = (
        b"GET /livez?token=secret HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n" % DOMAIN.encode()
    )
    chain.raw(head + b'User-Agent: q" \\ caf\xff\r\n\r\n')
    chain.raw(b"\x16\x03garbage\r\n\r\n", plain=True)
    for name in ("service.log", "my-service.log"):
        for line in (chain.directory / name).read_bytes().decode().splitlines():
            json.loads(line)
            assert "secret" not in line


def test_plain_http_only_redirects(chain: Chain) -> None:
    head = b"GET /a?b=%2f HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    answer = chain.raw(head, plain=True)
    assert answer.startswith(b"HTTP/1.1 308 ")
    assert f"\r\nLocation: https://{DOMAIN}/a?b=%2f\r\n".encode() in answer
    assert b"Strict-Transport-Security" not in answer
    write = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    answer = chain.raw(write, plain=True)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 403


def test_metrics_are_for_the_host_alone(chain: Chain) -> None:
    for path in ("/metrics", "/metrics%20", "/%6detrics", "/./metrics", "//metrics"):
        assert chain.get(path, Authorization=f"Bearer {chain.token}").status == 404
    assert chain.get("/metrics%85", Authorization=f"Bearer {chain.token}").status == 400
    inside = f"http://127.0.0.1:{chain.internal}"
    request = urllib.request.Request(
        f"{inside}/metrics", headers={"Authorization": f"Bearer {chain.token}"}
    )
    with urllib.request.urlopen(request) as answer:
        assert "http_server_request_duration_seconds_count" in answer.read().decode()
    with urllib.request.urlopen(f"{inside}/readyz") as answer:
        assert answer.status == 200
    for path, status in (("/metrics", 401), ("/livez", 404), ("/", 404)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(inside + path)
        with refused.value as answer:
            assert answer.status == status


def test_certificates_can_be_renewed(chain: Chain) -> None:
    challenge = chain.directory / "acme" / ".well-known" / "acme-challenge"
    challenge.mkdir(parents=True)
    (challenge / "token").write_text("proof")
    head = b"GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert chain.raw(head, plain=True).endswith(b"\r\n\r\nproof")


def test_tls(chain: Chain) -> None:
    assert chain.tls_version("TLSv1_3") == "TLSv1.3"
    assert chain.tls_version("TLSv1_2") == "TLSv1.2"
    with (
        pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"),
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        chain.tls_version("TLSv1_1")

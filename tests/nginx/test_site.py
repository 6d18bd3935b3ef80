"""Generated site in front of the generated service: TLS → Nginx → unix socket → server."""

import gzip
import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ..support.fake_upstream import fake_upstream
from ..support.fixtures import Generate, Needs
from ..support.http_client import DOMAIN
from ..support.logs import parse_log
from ..support.matrix import EMBEDDED, LONGEST, NEWER_NGINX
from ..support.nginx_stack import NginxStack
from ..support.process import run
from ..support.supervisord_stack import SupervisordStack

# The database does not change how the service runs.
STACKS = [a for a in EMBEDDED if a["supervisor"] == "systemd" or a["database"] == "sqlite"]
STACKS += [NEWER_NGINX]
# Fields of a line of the site's log.
LOG_FIELDS = {
    "@timestamp",
    "client.ip",
    "http.request.id",
    "http.request.method",
    "http.response.body.bytes",
    "http.response.status_code",
    "nginx.cache",
    "nginx.limit.connections",
    "nginx.limit.requests",
    "nginx.request.seconds",
    "nginx.upstream.seconds",
    "nginx.upstream.status",
    "service.name",
    "tls.version",
    "trace.id",
    "url.path",
    "user_agent.original",
}


def test_longest_names_are_accepted(generated: Generate, needs: Needs, tmp_path: Path) -> None:
    needs("nginx", "openssl")
    longest = NginxStack(generated(**LONGEST), tmp_path, LONGEST["project_slug"])
    longest.write_files()
    done = subprocess.run(longest.nginx("-t"), check=False, capture_output=True, text=True)
    assert "test is successful" in done.stderr
    assert "[warn]" not in done.stderr


def test_configuration_has_no_warnings(stack: NginxStack) -> None:
    done = subprocess.run(stack.nginx("-t", "-q"), check=True, capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if stack.directory.name not in line] == []
    assert "[warn]" not in done.stderr
    assert "[emerg]" not in done.stderr


def test_shared_cases_pass(stack: NginxStack) -> None:
    """The generated suite runs the same cases in its own process."""
    summary = run(
        "pytest", "-rs", "--server", f"https://{DOMAIN}", "--connect", f"127.0.0.1:{stack.https}",
        "--token", stack.token, cwd=stack.project, SSL_CERT_FILE=str(stack.certificate),
    )  # fmt: skip
    (passed,) = re.findall(r"^(\d+) shared cases passed", summary, re.MULTILINE)
    skipped = re.findall(r"^SKIPPED \[(\d+)\] [^ ]+: (.*)$", summary, re.MULTILINE)
    collected = run("pytest", "--server", "tcp", "--collect-only", cwd=stack.project)
    assert int(passed) + sum(int(count) for count, _ in skipped) == collected.count("::")
    reasons = {"a deployed service publishes /metrics on its own host only"}
    if isinstance(stack, SupervisordStack):  # run.sh starts the owner's service
        reasons.add("the server lacks the routes of the tests: see tests/contract/service")
    assert {reason for _, reason in skipped} == reasons


@pytest.mark.parametrize(
    ("path", "status"), [("/livez", 200), ("/", 200), ("/static/app.css", 200), ("/nothing", 404)]
)
def test_default_headers_are_sent_once(stack: NginxStack, path: str, status: int) -> None:
    response = stack.get(path)
    assert response.status == status
    response.check_headers()
    assert response.headers["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains"


def test_static_files_are_served_by_nginx(stack: NginxStack) -> None:
    sheet = stack.project / "src/my_service/static/app.css"
    response = stack.get("/static/app.css")
    assert response.body == sheet.read_bytes()
    assert response.headers["Content-Type"] == "text/css"
    assert response.headers["Cache-Control"] == "no-cache"
    (named,) = re.findall(r'href="(/static/app\.\w+\.css)"', stack.get("/").body.decode())
    immutable = stack.get(named, Accept_Encoding="gzip")
    assert immutable.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert immutable.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(immutable.body) == response.body
    with stack.without_service():
        assert stack.get("/static/app.css").status == 200
        unchanged = stack.get("/static/app.css", If_None_Match=response.headers["ETag"])
        date = response.headers["Last-Modified"]
        changed = stack.get("/static/app.css", If_None_Match='"a"', If_Modified_Since=date)
        assert changed.status == 200  # RFC 9110, section 13.1.3
        part = stack.get("/static/app.css", Range="bytes=0-4")
        assert (part.status, part.body) == (206, sheet.read_bytes()[:5])
        for partial, status in ((unchanged, 304), (part, 206)):
            assert partial.status == status
            partial.check_headers()
        stack.get("/static/app.css", Range="bytes=9999999-").check_problem(416)
        stack.get("/static/app.css", If_Match='"another"').check_problem(412)
        for path in ("/static/none.css", "/static/", "/static/.manifest.json", "/static/../app.py"):
            assert stack.get(path).status in (404, 502)
        for method in ("POST", "DELETE"):
            refused = stack.request(method, "/static/app.css", b"x")
            refused.check_problem(405)
            assert refused.headers["Allow"] == "GET, HEAD"


def test_static_paths_outside_are_not_found(stack: NginxStack) -> None:
    assert (stack.directory / "static" / ".." / "nginx.conf").exists()
    for path in ("/static../nginx.conf", "/static/..%2fnginx.conf", "/static/%2e%2e/nginx.conf"):
        assert stack.get(path).status in (400, 404)


def test_pages_are_not_compressed(stack: NginxStack) -> None:
    """The compressed size would reveal a secret next to text that the client sent (BREACH)."""
    page = stack.get("/", Accept="text/html", Accept_Encoding="gzip")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "Content-Encoding" not in page.headers


def test_stopped_service_is_502(stack: NginxStack) -> None:
    with stack.without_service():
        for method in ("GET", "POST"):
            response = stack.request(method, "/livez", None)
            response.check_problem(502)
            assert response.headers["Retry-After"] == "5"


def test_service_receives_the_wsgi_environ(stack: NginxStack) -> None:
    """PEP 3333, "environ Variables"."""
    trace = {"Traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "Tracestate": "a=b,c=d"}
    response = stack.request("POST", "/echo?X-A=b", b"{}", Content_Type="application/json", **trace)
    seen = json.loads(response.body)
    assert {name: seen[f"HTTP_{name.upper()}"] for name in trace} == trace
    expected = {"REQUEST_METHOD": "POST", "PATH_INFO": "/echo", "QUERY_STRING": "X-A=b"}
    expected |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "2"}
    assert seen | expected == seen
    assert seen["SERVER_PROTOCOL"].startswith("HTTP/1.")
    assert {"SERVER_NAME", "SERVER_PORT"} <= seen.keys()


def test_request_id_is_the_same_in_response_and_logs(stack: NginxStack) -> None:
    kept = ("stack-given-id.1", "shortest", "x" * 64)
    for given in (*kept, "bad id", "shorter", "x" * 65, None):
        response = stack.get("/echo", **({"X_Request_ID": given} if given else {}))
        own = response.headers["X-Request-ID"]
        assert (own == given) == (given in kept)
        assert json.loads(response.body)["HTTP_X_REQUEST_ID"] == own
        for log in ("service.log", "my-service.log"):
            stack.wait_until_logged(own, log)


def test_log_lines_are_json(stack: NginxStack) -> None:
    trace, early = "4bf92f3577b34da6a3ce929d0e0e4736", "000" + "2" * 29
    sent = [
        (b'User-Agent: q" \\ \r\n', 'q" \\', ""),
        (b"User-Agent: caf\xff\r\n", "(not ASCII)", ""),
        (b"User-Agent:\r\nTraceparent: 00-%s-00f067aa0ba902b7-01\r\n" % trace.encode(), "", trace),
        (b"Traceparent: 00-%s-00f067aa0ba902b7-01\r\n" % (b"0" * 32), "", ""),
        (b"Traceparent: 00-%s-\xff-01\r\n" % trace.encode(), "", ""),
        (b"Traceparent: 00-%s-%s-01\r\n" % (trace.encode(), b"0" * 16), "", ""),
        (b"Traceparent: 00-%s-00f067aa0ba902b7-01\r\n" % early.encode(), "", early),
    ]
    for number, (fields, _, _) in enumerate(sent):
        head = f"GET /livez?token=secret HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n"
        stack.raw(f"{head}X-Request-ID: logged-line-{number}\r\n".encode() + fields + b"\r\n")
    stack.raw(
        f"GET /caf\xff?secret HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n\r\n".encode(
            "latin-1"
        )
    )
    stack.raw(f"GET /{'x' * 2000} {head.partition(' ')[2].partition(' ')[2]}\r\n".encode())
    for name in ("service.log", "my-service.log"):
        stack.wait_until_logged(f"logged-line-{len(sent) - 1}", name)
        stack.wait_until_logged("/xxx", name)
        lines = (stack.directory / name).read_bytes().decode().splitlines()
        entries = {line.get("http.request.id"): line for line in parse_log(lines)}
        assert "secret" not in "".join(lines)
    # Nginx's log was read last.
    for number, (_, agent, traced) in enumerate(sent):
        entry = entries[f"logged-line-{number}"]
        assert (entry["user_agent.original"], entry["trace.id"]) == (agent, traced)
        assert (entry["url.path"], entry["tls.version"]) == ("/livez", "TLSv1.3")
        assert entry["nginx.limit.requests"] == "PASSED"
        assert set(entry) == LOG_FIELDS
    assert max(len(json.loads(line)["url.path"]) for line in lines) == 1024


def test_log_has_method_and_status_of_nginx_responses(stack: NginxStack) -> None:
    """Nginx serves its error pages as GET. A response without a status is logged as JSON, too."""
    too_large = str(2 << 20)
    stack.request("PUT", "/echo", None, X_Request_ID="of-a-put", Content_Length=too_large)
    head = f"GET /junk HTTP/1.1\r\nHost: {DOMAIN}\r\nX-Request-ID: what-is-no-status\r\n"
    with fake_upstream(stack, lambda _: b"junk\r\n\r\n"):
        stack.raw(f"{head}Connection: close\r\n\r\n".encode())
    for own in ("of-a-put", "what-is-no-status"):
        stack.wait_until_logged(own, "my-service.log")
    lines = parse_log((stack.directory / "my-service.log").read_text().splitlines())
    entries = {line["http.request.id"]: line for line in lines}
    assert entries["of-a-put"]["http.request.method"] == "PUT"
    assert entries["of-a-put"]["http.response.status_code"] == 413


def test_metrics_are_served_on_the_internal_port_only(stack: NginxStack) -> None:
    for path in ("/metrics", "/metrics%20", "/%6detrics", "/./metrics", "//metrics"):
        assert stack.get(path, Authorization=f"Bearer {stack.token}").status == 404
    assert stack.get("/metrics%85", Authorization=f"Bearer {stack.token}").status == 400
    inside = f"http://127.0.0.1:{stack.internal}"
    request = urllib.request.Request(
        f"{inside}/metrics", headers={"Authorization": f"Bearer {stack.token}"}
    )
    with urllib.request.urlopen(request) as response:
        assert "http_server_request_duration_seconds_count" in response.read().decode()
    request = urllib.request.Request(f"{inside}/readyz", headers={"User-Agent": "from inside"})
    with urllib.request.urlopen(request) as response:
        assert response.status == 200
    for method, path, status in (
        ("GET", "/metrics", 401), ("GET", "/livez", 404), ("GET", "/", 404), ("PUT", "/x", 404),
    ):  # fmt: skip
        request = urllib.request.Request(inside + path, method=method)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        with refused.value as response:
            assert response.status == status
            assert json.loads(response.read())["status"] == status
            assert len(response.headers.get_all("X-Request-ID", [])) == 1
    written = [*stack.directory.glob("*.log"), *stack.directory.glob("on")]
    written.remove(stack.directory / "service.log")
    assert [path for path in written if b"from inside" in path.read_bytes()] == []

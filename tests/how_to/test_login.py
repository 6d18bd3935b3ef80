"""docs/how-to/login.md: its tests, and the started service in production, as behind Nginx."""

import http.client
import os
import subprocess
from pathlib import Path
from urllib.parse import urlencode

from ..support.fixtures import Generate
from ..support.process import free_port, run, terminate, wait_until_ready
from .steps import check, follow

FORM = urlencode({"name": "ada", "password": "correct horse battery"})
BEHIND_NGINX = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "Host": "my-service.example.com",
    "Content-Type": "application/x-www-form-urlencoded",
}


def test_login_can_be_added(copied: Generate) -> None:
    project = copied()
    follow(project, "login.md")
    check(project)
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "BIND": f"127.0.0.1:{port}",
        "DATABASE_URL": f"sqlite:///{project}/my-service.sqlite3",
        "TRUSTED_PROXY_COUNT": "1",
    }
    first = start(project, environ, port)
    try:
        status, headers = request(port, "POST", "/login", {"Sec-Fetch-Site": "cross-site"})
        assert status == 403
        status, headers = request(port, "POST", "/login", {"Sec-Fetch-Site": "same-origin"})
        assert (status, headers["Location"]) == (303, "/account")
        cookie, *attributes = headers["Set-Cookie"].split("; ")
        assert cookie.startswith("__Host-session=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} < set(attributes)
        # A browser without Fetch metadata.
        origin = {"Origin": "https://my-service.example.com"}
        assert request(port, "POST", "/login", origin)[0] == 303
    finally:
        terminate(first)
    second = start(project, environ, port)
    try:
        # The session is valid after a restart, in each worker.
        statuses = {request(port, "GET", "/account", {"Cookie": cookie})[0] for _ in range(8)}
        assert statuses == {200}
        log_out = {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}
        assert request(port, "POST", "/logout", log_out)[0] == 303
        statuses = {request(port, "GET", "/account", {"Cookie": cookie})[0] for _ in range(8)}
        assert statuses == {401}
    finally:
        terminate(second)
    assert "Traceback" not in (project / "log").read_text()


def start(project: Path, environ: dict[str, str], port: int) -> "subprocess.Popen[bytes]":
    """Start the service of the project and wait until it responds."""
    run(".venv/bin/python", "-m", "my_service", "check", cwd=project, **environ)
    with (project / "log").open("a") as log:
        command = [".venv/bin/python", "-m", "my_service", "serve"]
        service = subprocess.Popen(command, cwd=project, env=environ, stderr=log)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}")
    except AssertionError:
        terminate(service)
        raise AssertionError((project / "log").read_text()) from None
    return service


def request(
    port: int, method: str, path: str, headers: dict[str, str]
) -> tuple[int, http.client.HTTPMessage]:
    """Send a request as Nginx does, and return the status and headers of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        body = FORM if method == "POST" else None
        connection.request(method, path, body, {**BEHIND_NGINX, **headers})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers
    finally:
        connection.close()

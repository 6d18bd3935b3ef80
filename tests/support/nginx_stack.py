"""Nginx with the generated files, in front of the started service.

The stack needs no root. It uses the generated files with the paths and ports of the host layout
replaced by a directory and ports of the test.
"""

import contextlib
import os
import re
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .http_client import DOMAIN, SiteClient
from .process import free_port, terminate

# The service with routes of the tests: tests/contract/service of a project.
COMMAND = [sys.executable, "-m", "tests.contract.service"]
MAIN = """
daemon off;
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    include /etc/nginx/mime.types;
    access_log {directory}/others.log;
    # Settings of Debian's nginx.conf, and of many others, which the site has to override.
    gzip on;
    gzip_types application/json;
    sendfile on;
    tcp_nopush on;
    ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
    ssl_prefer_server_ciphers on;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    lingering_timeout 1s;
    include {directory}/{slug}.conf;
}}
"""


class NginxStack(SiteClient):
    """Nginx and the service of one project, each with its files, log and port."""

    def __init__(
        self,
        project: Path,
        directory: Path,
        slug: str = "my-service",
        changed: dict[str, str] | None = None,
        program: list[str] | None = None,
    ) -> None:
        self.program = program or ["nginx"]
        self.slug = slug
        self.socket = f"/run/{slug}.sock"
        self.changed = changed or {}
        self.project = project
        self.directory = directory
        self.http, self.https, self.internal = free_port(), free_port(), free_port()
        self.token = secrets.token_hex(32)
        self.certificate = directory / "tls" / "fullchain.pem"
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{project}/src:{project}",
            "ENV_FILE": str(project / "deploy" / "my-service.env"),
            "API_TOKENS": f"tester:{self.token}",
            "ADMIN_TOKEN": self.token,
            "BIND": f"unix:{directory}/service.sock",
        }
        if (project / "src/bottle_service/database").exists():
            self.environ["DATABASE_URL"] = f"sqlite:///{directory}/db.sqlite3"
        self.service: subprocess.Popen[bytes] | None = None

    def write_files(self) -> None:
        """Write the Nginx files with the test's paths and ports, and make a certificate."""
        here = str(self.directory)
        moved = self.changed | {
            "/etc/nginx/snippets/": f"{here}/",
            f"/etc/{self.slug}/tls/": f"{here}/tls/",
            f"/var/lib/{self.slug}-static/": f"{here}/static/",
            self.socket: f"{here}/service.sock",
            f"/var/lib/{self.slug}-acme": f"{here}/acme",
            f"/var/cache/{self.slug}-nginx": f"{here}/cache",
            "/var/log/nginx/": f"{here}/",
            "listen 80;": f"listen 127.0.0.1:{self.http};",
            "listen [::]:80;": "",
            "listen 80 default": f"listen 127.0.0.1:{self.http} default",
            "listen [::]:80 default_server;": "",
            "listen 443 ssl": f"listen 127.0.0.1:{self.https} ssl",
            "listen [::]:443 ssl": "# listen",
            "listen 443 default": f"listen 127.0.0.1:{self.https} default",
            "listen [::]:443 default_server;": "",
            "listen 127.0.0.1:9180;": f"listen 127.0.0.1:{self.internal};",
        }
        used: set[str] = set()
        sources = self.project / "deploy" / "nginx"
        newer = [source for name in self.newer_files() for source in sources.glob(f"{name}/*.conf")]
        for source in [*sources.glob("*.conf"), *newer]:
            text = source.read_text()
            for theirs, ours in moved.items():
                used.update([theirs] if theirs in text else [])
                text = text.replace(theirs, ours)
            (self.directory / source.name).write_text(text)
        assert used == set(moved)
        # As root, Nginx would run its workers as a user who may not read the directory.
        user = "user root;" if os.getuid() == 0 else ""
        (self.directory / "nginx.conf").write_text(
            MAIN.format(directory=here, user=user, slug=self.slug)
        )
        if not self.certificate.exists():
            self.make_certificate()

    def make_certificate(self) -> None:
        """Make a self-signed certificate for the site's name."""
        here = self.certificate.parent
        here.mkdir()
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
        subject = ["-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN}"]
        files = ["-keyout", f"{here}/privkey.pem", "-out", str(self.certificate)]
        subprocess.run([*request, *subject, *files], check=True, capture_output=True)

    def newer_files(self) -> list[str]:
        """Return the directories of files for the Nginx and OpenSSL of at least this version."""
        done = subprocess.run([*self.program, "-V"], check=True, capture_output=True, text=True)
        versions = done.stderr.partition("configure arguments")[0]
        found = []
        for path in (self.project / "deploy/nginx").glob("from-*"):
            _, name, version = path.name.split("-")
            own = re.findall(rf"(?i){name}[/ ]([\d.]+)", versions)[-1]
            if [int(n) for n in own.split(".")] >= [int(n) for n in version.split(".")]:
                found.append(path.name)
        return found

    def nginx(self, *arguments: str) -> list[str]:
        """Return the command that runs Nginx with the stack's configuration."""
        configuration = f"{self.directory}/nginx.conf"
        return [*self.program, *arguments, "-p", str(self.directory), "-c", configuration]

    @contextlib.contextmanager
    def service_running(self) -> Iterator["NginxStack"]:
        """Start the service, without Nginx, and stop it at the end."""
        if "DATABASE_URL" in self.environ:
            self.command("migrate")
        self.command("collect-static", str(self.directory / "static"))
        self.start_service()
        try:
            yield self
        finally:
            self.stop_service()

    @contextlib.contextmanager
    def nginx_running(self) -> Iterator["NginxStack"]:
        """Start Nginx with the current files of the project, and stop it at the end."""
        self.write_files()
        for log in self.directory.glob("*.log"):
            os.truncate(log, 0)
        for kept in ("acme", "cache"):
            shutil.rmtree(self.directory / kept, ignore_errors=True)
        subprocess.run(self.nginx("-tq"), check=True)
        nginx = subprocess.Popen(self.nginx(), stderr=subprocess.DEVNULL)
        try:
            self._wait(lambda: bool((self.directory / "nginx.pid").read_text()))
            yield self
        finally:
            terminate(nginx)

    def start_service(self) -> None:
        """Start the service and wait until it responds."""
        with (self.directory / "service.log").open("ab") as log:
            # In the working directory of the template, `tests` would be the template's.
            self.service = subprocess.Popen(
                [*COMMAND, "serve"], env=self.environ, cwd=self.directory, stderr=log
            )
        self._wait(self._serves)

    def _serves(self) -> bool:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(20)
            channel.connect(str(self.directory / "service.sock"))
            channel.sendall(self._health_request())
            return channel.recv(12).endswith(b" 200")

    def _health_request(self) -> bytes:
        """Return GET /livez in the protocol that Nginx uses to the server."""
        if not (self.project / "uwsgi.ini").exists():
            return b"GET /livez HTTP/1.0\r\n\r\n"
        # https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html
        variables = "REQUEST_METHOD GET PATH_INFO /livez QUERY_STRING _ SERVER_PROTOCOL HTTP/1.0"
        texts = f"{variables} SERVER_NAME localhost SERVER_PORT 80".encode().split()
        content = b"".join(struct.pack("<H", len(text)) + text for text in texts)
        return struct.pack("<BHB", 0, len(content), 0) + content

    def command(self, *arguments: str) -> None:
        """Run a command of the service."""
        command = [*COMMAND, *arguments]
        subprocess.run(
            command, env=self.environ, cwd=self.directory, check=True, capture_output=True
        )

    def stop_service(self) -> None:
        """Stop the service if it runs."""
        if self.service:
            terminate(self.service)
            self.service = None

    @contextlib.contextmanager
    def without_service(self) -> Iterator[None]:
        """Stop the service meanwhile."""
        self.stop_service()
        try:
            yield
        finally:
            self.start_service()

    def _wait(self, condition: Callable[[], bool]) -> None:
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            with contextlib.suppress(OSError):
                if condition():
                    return
            time.sleep(0.05)
        log = self.directory / "service.log"
        raise AssertionError(f"not ready: {log.read_text() if log.exists() else 'Nginx'}")

    def wait_until_logged(self, text: str, log: str) -> None:
        """Wait for a log line: Nginx writes it after it has sent the response."""
        self._wait(lambda: text in (self.directory / log).read_text())

"""The generated Nginx files on a real Nginx, in front of the started service.

No root is needed: the files are used as they are but for the paths and ports of the host layout,
which lead to a directory of the test's own.
"""

import contextlib
import http.client
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .answer import Answer

DOMAIN = "my-service.example.com"
COMMAND = [sys.executable, "-m", "my_service"]
MAIN = """
daemon off;
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    lingering_timeout 1s;
    include {directory}/{slug}.conf;
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Chain:
    """Nginx and the service of one project, both started."""

    def __init__(
        self,
        project: Path,
        directory: Path,
        slug: str = "my-service",
        changed: dict[str, str] | None = None,
    ) -> None:
        self.slug = slug
        self.changed = changed or {}
        self.project = project
        self.directory = directory
        self.http, self.https, self.internal = free_port(), free_port(), free_port()
        self.token = secrets.token_hex(32)
        self.certificate = directory / "tls" / "fullchain.pem"
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(project / "src"),
            "ENV_FILE": str(project / "deploy" / "my-service.env"),
            "API_TOKENS": f"chain:{self.token}",
            "ADMIN_TOKEN": self.token,
            "BIND": f"unix:{directory}/service.sock",
        }
        if (project / "src/my_service/database.py").exists():
            self.environ["DATABASE_URL"] = f"sqlite:///{directory}/db.sqlite3"
        self.service: subprocess.Popen[bytes] | None = None

    def write_files(self) -> None:
        """Put the Nginx files where the test's paths are, and make a certificate."""
        here = str(self.directory)
        moved = self.changed | {
            "/etc/nginx/snippets/": f"{here}/",
            f"/etc/{self.slug}/tls/": f"{here}/tls/",
            f"/var/lib/{self.slug}-static/": f"{here}/static/",
            f"/run/{self.slug}.sock": f"{here}/service.sock",
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
        for source in [*sources.glob("*.conf"), *sources.glob(self.newer())]:
            text = source.read_text()
            for theirs, ours in moved.items():
                used.update([theirs] if theirs in text else [])
                text = text.replace(theirs, ours)
            (self.directory / source.name).write_text(text)
        assert used == set(moved)
        # As root Nginx would give its workers to a user who may not read the directory.
        user = "user root;" if os.getuid() == 0 else ""
        (self.directory / "nginx.conf").write_text(
            MAIN.format(directory=here, user=user, slug=self.slug)
        )
        (self.directory / "tls").mkdir()
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
        subject = ["-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN}"]
        files = ["-keyout", f"{here}/tls/privkey.pem", "-out", str(self.certificate)]
        subprocess.run([*request, *subject, *files], check=True, capture_output=True)

    def newer(self) -> str:
        """Return which files replace others where Nginx knows HTTP/2 as a directive of its own."""
        told = subprocess.run(
            ["nginx", "-tg", "http2 on;"], check=False, capture_output=True, text=True
        )
        return "none" if "unknown directive" in told.stderr else "from-*/*.conf"

    def nginx(self, *arguments: str) -> list[str]:
        return [
            "nginx",
            *arguments,
            "-p",
            str(self.directory),
            "-c",
            f"{self.directory}/nginx.conf",
        ]

    def start_service(self) -> None:
        if "DATABASE_URL" in self.environ:
            self.command("migrate")
        with (self.directory / "service.log").open("ab") as log:
            self.service = subprocess.Popen([*COMMAND, "serve"], env=self.environ, stderr=log)
        self._wait(lambda: self.get("/livez").status == 200)

    def command(self, *arguments: str) -> None:
        """Run a command of the service."""
        subprocess.run([*COMMAND, *arguments], env=self.environ, check=True, capture_output=True)

    def stop_service(self) -> None:
        if self.service:
            end(self.service)
            self.service = None

    @contextlib.contextmanager
    def running(self) -> Iterator["Chain"]:
        self.write_files()
        nginx = subprocess.Popen(self.nginx(), stderr=subprocess.DEVNULL)
        try:
            self._wait(lambda: self.get("/livez").status == 502)
            self.command("assets", str(self.directory / "static"))
            self.start_service()
            yield self
        finally:
            self.stop_service()
            end(nginx)

    @contextlib.contextmanager
    def without_service(self) -> Iterator[None]:
        self.stop_service()
        try:
            yield
        finally:
            self.start_service()

    def _wait(self, condition: Callable[[], bool]) -> None:
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            with contextlib.suppress(OSError):
                if condition():
                    return
            time.sleep(0.05)
        log = self.directory / "service.log"
        raise AssertionError(f"not ready: {log.read_text() if log.exists() else 'Nginx'}")

    def wait_until_logged(self, text: str, log: str) -> None:
        """Nginx writes its line after the answer was sent."""
        self._wait(lambda: text in (self.directory / log).read_text())

    def plain(self, port: int, source: str = "127.0.0.1") -> socket.socket:
        """Return a connection from this address of the host."""
        return socket.create_connection(("127.0.0.1", port), 20, (source, 0))

    def connect(
        self,
        source: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        name: str = DOMAIN,
    ) -> ssl.SSLSocket:
        """Return a connection to the site over TLS, from this address of the host."""
        tls = tls or self.tls()
        channel = self.plain(self.https, source)
        try:
            return tls.wrap_socket(channel, server_hostname=name)
        except OSError:
            channel.close()
            raise

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        source: str = "127.0.0.1",
        **headers: str,
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(DOMAIN)
        connection.sock = self.connect(source)
        try:
            connection.request(method, path, body, named)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, None, **headers)

    def raw(self, data: bytes, plain: bool = False, source: str = "127.0.0.1") -> bytes:
        """Send bytes and return all that comes back until the connection is closed."""
        with self.plain(self.http) if plain else self.connect(source) as channel:
            channel.sendall(data)
            answer = b""
            while chunk := channel.recv(65536):
                answer += chunk
        return answer


def end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    finally:
        process.kill()

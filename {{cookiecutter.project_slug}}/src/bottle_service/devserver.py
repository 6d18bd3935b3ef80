"""The development server: `make run`.

It starts the whole `serve` process again after a change of a source, a view or a settings file,
which works alike for every WSGI server. It keeps the listening socket open, so that requests wait
for the new process instead of being refused.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path

from watchfiles import Change, watch

from .servers import LISTEN_FD, listen
from .service import Service
from .settings import Bind, ServiceSettings
from .startup import StartupError

__all__ = ["main"]

# Seconds that requests in flight may take after a change, or Ctrl-C.
GRACEFUL_TIMEOUT = 10.0


def main(package: str) -> None:
    """Serve the service whose package this is, until Ctrl-C.

    Exits with 2 if the service cannot listen on its address.
    """
    settings_type: type[ServiceSettings] = import_module(f"{package}.settings").Settings
    ensure_dev_token(settings_type)
    server = DevelopmentServer(package, settings_type)
    if not server.start():
        sys.exit(2)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        threading.Thread(target=print_banner_when_ready, args=[package], daemon=True).start()
        for _ in watch(".", watch_filter=should_reload):
            with interrupts_deferred():
                server.start()
    server.stop()


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Raise KeyboardInterrupt for a SIGINT or SIGTERM only at the end of the block.

    In the middle of a start, it would leave a process of which nobody knows.
    """
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(number, lambda *it: received.append(it[0])) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt


class DevelopmentServer:
    """The listening socket, and the `serve` process of the current sources."""

    def __init__(self, package: str, settings_type: type[ServiceSettings]) -> None:
        self._package = package
        self._settings_type = settings_type
        self._bind: Bind | None = None
        self._listener: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> bool:
        """Start `serve`, while the previous process finishes its requests.

        Prints the problem and returns False if the address cannot be listened on.
        """
        self.stop(wait=not self._listener)
        try:
            self._listen()
        except StartupError as error:
            print(*error.problems, sep="\n", file=sys.stderr)
            return False
        inherited = [self._listener.fileno()] if self._listener else []
        command = [sys.executable, "-m", "bottle_service.devserver", self._package, "serve"]
        self._process = subprocess.Popen(
            [*command, *map(str, inherited)],
            pass_fds=inherited,
            start_new_session=True,  # Ctrl-C reaches it through this process only, and once
        )
        return True

    def stop(self, *, wait: bool = True) -> None:
        """Stop the process gracefully; with `wait`, return after it has exited."""
        if self._process:
            self._process.terminate()
            end = threading.Thread(target=_wait_or_kill, args=[self._process])
            end.start()
            self._process = None
            if wait:
                end.join()

    def _listen(self) -> None:
        """Listen on the address of the settings. Raises StartupError."""
        settings, problems, _ = self._settings_type.read(os.environ)
        # `serve` reports an invalid address. Windows passes no sockets: `serve` listens itself.
        if os.name != "posix" or {problem.setting for problem in problems} & {"BIND", "PORT"}:
            return
        if settings.bind != self._bind:
            if self._listener:
                self._listener.close()
            self._bind = self._listener = None
            self._listener = listen(settings.bind)
            self._bind = settings.bind


def _wait_or_kill(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the exit of a process and, after GRACEFUL_TIMEOUT, kill it with its workers."""
    try:
        process.wait(GRACEFUL_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def serve(package: str, inherited: Sequence[int]) -> None:
    """Migrate the database, then serve on the inherited socket, as if systemd had passed it."""
    from .cli import main as run

    for fd in inherited:
        os.dup2(fd, LISTEN_FD)
        os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    service: Service = import_module(f"{package}.app").SERVICE
    if service.has_database:
        serve_when_migrated(service)
    else:
        run(service, ["serve"])


def serve_when_migrated(service: Service) -> None:
    """Migrate the database and serve; after a failure, repeat this when a migration has changed.

    `should_reload` ignores migrations and the database, so no restart would follow when a failed
    migration is repaired, or when the migration of a changed model is there.
    """
    from .cli import main as run

    while True:
        files, _ = migration_state(service)
        try:
            run(service, ["migrate"])
            return run(service, ["serve"])
        except SystemExit as end:  # after a failure, the command has printed the problems
            if not end.code:
                raise
        except Exception:
            traceback.print_exc()
        _, problems = migration_state(service)  # the failed attempt may have created the database
        print(
            "waiting for a change of a source, a setting, a migration or the database",
            file=sys.stderr,
        )
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the server may have its own handlers
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        while migration_state(service) == (files, problems):
            time.sleep(0.5)


def migration_state(service: Service) -> tuple[list[tuple[str, int]], list[str]]:
    """Return when each migration was changed, and the problems of the database."""
    files = []
    for path in sorted((service.directory / "migrations" / "versions").glob("*.py")):
        with suppress(FileNotFoundError):
            files.append((path.name, path.stat().st_mtime_ns))
    settings, problems, _ = service.settings.read(os.environ)
    if not problems:
        with closing(service.open_database(settings)) as database:
            problems = [*database.problems(), *database.warnings()]
    return files, list(map(str, problems))


def should_reload(_change: Change, path: str) -> bool:
    """Return whether the server restarts for a change of this file."""
    if ".venv" in Path(path).parts:
        return False
    # Its author reads a new migration before the next start runs it.
    if Path(path).parts[-3:-1] == ("migrations", "versions"):
        return False
    name = Path(path).name
    return name.endswith((".py", ".tpl")) or name == ".env" or name.startswith(".env.")


def ensure_dev_token(settings_type: type[ServiceSettings]) -> None:
    """Write an API token to `.env`, which Git ignores, unless one is set or invalid."""
    settings, problems, _ = settings_type.read(os.environ)
    invalid = any(problem.setting.startswith("API_TOKENS") for problem in problems)
    if invalid or settings.api_tokens.clients:
        return
    file = os.open(".env", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as env:
        env.write(f"\nAPI_TOKENS=dev:{secrets.token_hex(16)}\n")


def print_banner_when_ready(package: str) -> None:
    """Print how to call the service, once it responds.

    The listening socket is the development server's own, so no other service can respond.
    """
    settings_type: type[ServiceSettings] = import_module(f"{package}.settings").Settings
    # The environment's proxy does not reach this host.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        time.sleep(0.05)
        settings, problems, _ = settings_type.read(os.environ)
        url = f"http://{settings.bind}"
        if problems or settings.bind.path:
            continue
        with suppress(OSError):
            opener.open(f"{url}/livez", timeout=60)
            break
    print(banner(import_module(f"{package}.app").SERVICE, settings, url), flush=True)


def banner(service: Service, settings: ServiceSettings, url: str) -> str:
    name, token = settings.api_tokens.clients[0]
    text = f"\n  {url}/\n  token of {name!r}: {token.reveal()}\n"
    if service.example:
        path, body = service.example
        text += f"""
  curl -H 'Authorization: Bearer {token.reveal()}' -H 'Content-Type: application/json' \\
       -d '{body}' {url}{path}
"""
    return f"{text}\n  Press Ctrl-C to stop.\n"


if __name__ == "__main__":
    match sys.argv[1:]:
        case [package, "serve", *listeners]:
            serve(package, [int(listener) for listener in listeners])
        case [package]:
            main(package)

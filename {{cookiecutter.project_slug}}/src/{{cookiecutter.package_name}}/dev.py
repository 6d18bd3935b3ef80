"""Serve in development: `make run`.

The whole `serve` process is restarted when a source, a view or a settings file changes, which
works alike for every server.
"""

import os
import secrets
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from watchfiles import Change, watch

from .settings import Settings, read_settings

PYTHON = [sys.executable, "-m", str(__package__)]
# <% if cookiecutter.database == "sqlite" %>
EXAMPLE = "/api/v1/notes", '{"title": "Hello"}'
# <% else %>
EXAMPLE = "/api/v1/greetings", '{"name": "World"}'
# <% endif %>


def main() -> None:
    stopping = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows lacks the last
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: stopping.set())
    make_token()
    server = Server()
    try:
        # Beside the watching: a change may come before the first answer.
        threading.Thread(target=greet, args=(server, stopping), daemon=True).start()
        for _ in watch(".", watch_filter=is_source, stop_event=stopping):
            server.stop()
            server.start()
    finally:
        server.stop()


def is_source(_change: Change, path: str) -> bool:
    if ".venv" in Path(path).parts:
        return False
    # <% if cookiecutter.database == "sqlite" %>
    # A new migration wants to be read before the next start applies it.
    if Path(path).parts[-3:-1] == ("migrations", "versions"):
        return False
    # <% endif %>
    name = Path(path).name
    return name.endswith((".py", ".tpl")) or name == ".env" or name.startswith(".env.")


def make_token() -> None:
    """Give a fresh checkout a token of its own, in a file that Git ignores."""
    settings, problems = read_settings(os.environ)
    if settings.api_tokens.pairs or any(
        problem.setting.startswith("API_TOKENS") for problem in problems
    ):
        return
    file = os.open(".env", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(file, "w") as env:
        env.write(f"\nAPI_TOKENS=dev:{secrets.token_urlsafe(32)}\n")


class Server:
    """`serve` as a process of its own, started anew as often as needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        # <% if cookiecutter.database == "sqlite" %>
        if subprocess.run([*PYTHON, "migrate"], check=False).returncode:
            return  # it has said why
        # <% endif %>
        # In a session of its own, so that Ctrl-C reaches it through us alone and it can finish.
        self._process = subprocess.Popen([*PYTHON, "serve"], start_new_session=True)

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def greet(server: Server, stopping: threading.Event) -> None:
    """Wait until the service answers for the first time, and show how to call it."""
    # A proxy that the environment names does not reach this host.
    here = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while not stopping.wait(0.05):
        settings, problems = read_settings(os.environ)
        url = f"http://{settings.bind}"
        if problems or settings.bind.path or not server.runs():
            continue
        try:
            here.open(f"{url}/livez", timeout=1)
        except OSError:
            continue
        print(hint(settings, url), flush=True)
        break


def hint(settings: Settings, url: str) -> str:
    name, token = settings.api_tokens.pairs[0]
    path, body = EXAMPLE
    return f"""
  {url}/
  token of {name!r}: {token.reveal()}

  curl -H 'Authorization: Bearer {token.reveal()}' -H 'Content-Type: application/json' \\
       -d '{body}' {url}{path}

  Ctrl-C ends it.
"""


if __name__ == "__main__":
    main()

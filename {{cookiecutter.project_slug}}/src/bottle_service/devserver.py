"""The development server: `make run`.

It restarts the whole `serve` process after a change of a source, a view or a settings file, which
works alike for every WSGI server.
"""

import os
import secrets
import signal
import sys
import threading
import time
import traceback
import urllib.request
from contextlib import closing, suppress
from importlib import import_module
from pathlib import Path

from watchfiles import Change, run_process

from .service import Service
from .settings import ServiceSettings

__all__ = ["main"]


def main(package: str) -> None:
    """Serve the service whose package this is, until Ctrl-C."""
    ensure_dev_token(import_module(f"{package}.settings").Settings)
    threading.Thread(target=print_banner_when_ready, args=[package], daemon=True).start()
    run_process(".", target=serve, args=(package,), watch_filter=should_reload, sigint_timeout=10)


def serve(package: str) -> None:
    """Migrate the database, then serve: the target of each new process."""
    from .cli import main as run

    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches this process through its parent only, and once
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
        print("Waiting for a change of the migrations or the database.", file=sys.stderr)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the server may have its own handlers
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _, problems = migration_state(service)  # the failed attempt may have created the database
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
            problems = database.problems()
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
    if settings.api_tokens.clients or invalid:
        return
    file = os.open(".env", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(file, "w") as env:
        env.write(f"\nAPI_TOKENS=dev:{secrets.token_hex(16)}\n")


def print_banner_when_ready(package: str) -> None:
    """Print how to call the service, once it responds."""
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
            opener.open(f"{url}/livez", timeout=1)
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
    main(*sys.argv[1:])

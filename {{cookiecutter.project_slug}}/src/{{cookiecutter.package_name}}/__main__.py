"""The command line: python -m {{ cookiecutter.package_name }} serve · check · routes · assets{{ ' · migrate' if cookiecutter.database != 'none' }}"""

import argparse
import os
# <% if cookiecutter.database == "sqlite" %>
import re
# <% endif %>
import sys
from collections.abc import Sequence
# <% if cookiecutter.database == "sqlite" %>
from contextlib import closing
# <% endif %>
from pathlib import Path

from bottle import Bottle

from . import server
from .app import SERVICE, create_app
from .assets import Assets
# <% if cookiecutter.database == "sqlite" %>
from .database import Database
# <% endif %>
from .environment import BootError, Problem
from .settings import STATIC_DIRECTORY, Settings, load_settings, read_settings
from .telemetry import logs
from .web.observe import request_id


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="check, then run the server")
    commands.add_parser("check", help="say whether the service could start; exit 2 if not")
    commands.add_parser("routes", help="list what answers which URL")
    assets = commands.add_parser("assets", help="write the static files for Nginx to serve")
    assets.add_argument("destination", metavar="DESTINATION", type=Path)
    # <% if cookiecutter.database == "sqlite" %>
    migrate = commands.add_parser("migrate", help="bring the database's tables up to date")
    migrate.add_argument(
        "--new", metavar="MESSAGE", type=_message, help="write a migration for changed models"
    )
    # <% endif %>
    try:
        run(parser.parse_args(arguments))
    except BootError as error:
        print(f"{SERVICE} cannot start:", *error.problems, sep="\n  ", file=sys.stderr)
        sys.exit(2)


def run(arguments: argparse.Namespace) -> None:
    """Run one command. Raises BootError when the service could not start."""
    match arguments.command:
        case "check":
            settings, app = checked()
            print(f"{SERVICE} could start: {settings.app_env}, {len(app.routes)} routes")
        case "serve":
            settings, app = checked()
            logs.configure(settings, SERVICE, request_id.get)
            server.serve(settings, app)
        case "routes":
            for route in create_app(load_settings(os.environ)).routes:
                access = "public" if route.config.get("public") else "token"
                access = "admin" if route.config.get("admin") else access
                handler = route.callback
                name = f"{handler.__module__.partition('.')[2]}.{handler.__qualname__}"
                print(f"{route.method:7} {route.rule:32} {access:7} {name}")
        case "assets":
            os.umask(0o022)  # Nginx, which reads them, is another user
            Assets(STATIC_DIRECTORY, fingerprints=True).write(arguments.destination)
        # <% if cookiecutter.database == "sqlite" %>
        case "migrate":
            with closing(Database(load_settings(os.environ))) as database:
                if arguments.new is not None:
                    database.new_migration(arguments.new)
                elif newer := database.migrate():
                    told = f"the database is at revision {newer}, which this release does not know"
                    print(f"{SERVICE}: {told}: its tables stay as they are")
        # <% endif %>


# <% if cookiecutter.database == "sqlite" %>
def _message(text: str) -> str:
    if not re.search("[A-Za-z0-9]", text):
        raise argparse.ArgumentTypeError("say what has changed")
    return text


# <% endif %>
def checked() -> tuple[Settings, Bottle]:
    """Return the settings and the application if the service can start with them.

    Raises BootError with all that is wrong. A wrong setting is reported once: what follows
    from it is not, because its default stood in for it; and after a wrong APP_ENV all else does.
    """
    settings, problems = read_settings(os.environ)
    wrong = {problem.setting for problem in problems} - {""}
    if "APP_ENV" in wrong:
        raise BootError(problems)
    more: list[Problem] = server.problems(settings)
    if settings.bind.path and not os.path.isdir(os.path.dirname(settings.bind.path)):
        more.append(Problem("BIND", f"there is no directory for {settings.bind}"))
    # <% if cookiecutter.database == "sqlite" %>
    more += Database(settings).problems()
    # <% endif %>
    try:
        app = create_app(settings)
    except BootError as error:
        more += error.problems
    problems += [problem for problem in more if problem.setting not in wrong]
    if problems:
        raise BootError(problems)
    return settings, app


if __name__ == "__main__":
    main()

"""The parts of a service, for the command line, the development server and the WSGI servers."""

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from bottle import Bottle

from .http.request_id import current_request_id
from .release import release_id
from .settings import ServiceSettings
from .startup import StartupProblem
from .telemetry.logging import configure_logging

__all__ = ["Service", "start_worker"]


class Server(Protocol):
    """A module of `bottle_service.servers`."""

    def check(self, settings: Any, /) -> list[StartupProblem]: ...
    def serve(self, service: "Service", settings: Any, app: Bottle, /) -> None: ...
    def prepare_worker(self, app: Bottle, /) -> None: ...


class Database(Protocol):
    """A database, as commands use it."""

    backup_suffix: str
    after_restore: str  # how an operator switches the service to a restored database

    def problems(self) -> list[StartupProblem]: ...
    def warnings(self) -> list[StartupProblem]: ...
    def needs_migration(self) -> bool: ...
    def migrate(self) -> str | None: ...
    def downgrade(self, revision: str, /) -> str | None: ...
    def create_revision(self, message: str) -> None: ...
    def pause(self, session: Any, /) -> bool: ...
    def backup(self, file: Path, /) -> str: ...
    def restore(self, backup: Path, target: str, /) -> str: ...
    def close(self) -> None: ...


def _no_database(_settings: Any) -> Database:
    raise LookupError("the service has no database")


@dataclass(frozen=True, kw_only=True)
class Service:
    """The parts of one service.

    `name` is used in log entries. `package` and `directory` are those of the service's own code,
    which has its static files in `static`. `commands` is the module of its own commands. `example`
    is a path and a JSON body that `make run` prints as a first call.
    """

    name: str
    package: str
    directory: Path
    settings: type[ServiceSettings]
    create_app: Callable[[Any], Bottle]
    server: Server
    open_database: Callable[[Any], Database] = _no_database
    commands: ModuleType | None = None
    example: tuple[str, str] | None = None

    @property
    def has_database(self) -> bool:
        return self.open_database is not _no_database

    def configure_logging(self, settings: ServiceSettings) -> None:
        configure_logging(
            self.name,
            release_id(self.directory),
            log_format=settings.log_format,
            log_level=settings.log_level,
            request_id=current_request_id,
        )


def start_worker(service: Service) -> Bottle:
    """Return the application of this process, which a WSGI server has started.

    Raises StartupError with every problem.
    """
    settings = service.settings.load(os.environ)
    service.configure_logging(settings)
    app = service.create_app(settings)
    atexit.register(app.close)
    service.server.prepare_worker(app)
    return app

"""The settings of the service: one frozen object, made once at startup.

A field is a setting: its upper-case name is the setting's name, its default the one in production.
ServiceSettings has the settings that every service of this kind has.
"""

# <% if cookiecutter.database != "none" %>
from pathlib import Path
# <% endif %>
# <% if cookiecutter.wsgi_server == "waitress" %>
from typing import Annotated, ClassVar

from msgspec import Meta

# <% else %>
from typing import ClassVar

# <% endif %>
# <% if cookiecutter.database == "postgresql" %>
from bottle_service.database.postgresql_url import DatabaseUrl
# <% elif cookiecutter.database == "sqlite" %>
from bottle_service.database.url import DatabaseUrl
# <% endif %>
# <% if cookiecutter.wsgi_server == "gunicorn" %>
from bottle_service.servers.gunicorn import WorkerClass
# <% endif %>
# <% if cookiecutter.database == "none" %>
from bottle_service.settings import Defaults, ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """A field without a default is a required setting; a secret has the type Secret.

    The module bottle_service.settings lists all types.
    """

# <% else %>
from bottle_service.settings import DatabaseSettings, Defaults

# The directory of the service's data on a host: see deploy/README.md.
DATA_DIRECTORY = "/var/lib/{{ cookiecutter.project_slug }}"


class Settings(DatabaseSettings, frozen=True, kw_only=True):
    """A field without a default is a required setting; a secret has the type Secret.

    The module bottle_service.settings lists all types.
    """

# <% endif %>
    # Defaults that differ from production's, by APP_ENV.
    defaults: ClassVar[Defaults] = {
        # <% if cookiecutter.database == "sqlite" %>
        "development": {
            "LOG_FORMAT": "text",
            "DATABASE_URL": "sqlite:///{{ cookiecutter.project_slug }}.sqlite3",
            "BACKUP_DIRECTORY": "backups",
        },
        "test": {"DATABASE_URL": "sqlite:///test.sqlite3"},
        # <% elif cookiecutter.database == "postgresql" %>
        "development": {"LOG_FORMAT": "text", "BACKUP_DIRECTORY": "backups"},
        # <% else %>
        "development": {"LOG_FORMAT": "text"},
        # <% endif %>
    }
    # <% if cookiecutter.wsgi_server == "gunicorn" %>

    worker_class: WorkerClass = "gthread"
    # <% elif cookiecutter.wsgi_server == "waitress" %>

    web_concurrency: Annotated[int, Meta(ge=1, le=64)] = 1
    # <% elif cookiecutter.database != "none" %>

    # <% endif %>
    # <% if cookiecutter.database != "none" %>
    # <% if cookiecutter.database == "sqlite" %>
    database_url: DatabaseUrl = DatabaseUrl(f"sqlite:///{DATA_DIRECTORY}/db.sqlite3")
    # <% else %>
    # Over the unix socket, as the role of the service's user, without a password.
    database_url: DatabaseUrl = DatabaseUrl("postgresql:///{{ cookiecutter.project_slug }}")
    # <% endif %>
    backup_directory: Path = Path(DATA_DIRECTORY, "backups")
    # <% endif %>

    # Your settings, each with a line in .env.example:

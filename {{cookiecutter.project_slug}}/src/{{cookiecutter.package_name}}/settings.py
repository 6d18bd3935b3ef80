"""The settings of the service: one frozen object, made once at start.

A field's upper-case name is the setting's name. The default given here is production's;
DEFAULTS holds what other environments start from. Where values come from: environment.py.
"""

import hmac
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import fields

from .environment import BootError, Environment, Found, Problem, Secret, Sources, read


def release_of(file: Path) -> str:
    """Return the ID of a file's release, as deploy/install.sh lays it down; elsewhere nothing."""
    tree = file.parents[2]
    return tree.name if tree.parent.name == "releases" else ""


RELEASE = release_of(Path(__file__).resolve())
STATIC_DIRECTORY = Path(__file__).with_name("static")
VIEWS_DIRECTORY = Path(__file__).with_name("views")

# <% if cookiecutter.database == "sqlite" %>
PRODUCTION_DATABASE = "sqlite:////var/lib/{{ cookiecutter.project_slug }}/db.sqlite3"
# <% endif %>

DEFAULTS: dict[Environment, dict[str, str]] = {
    "production": {},
    # <% if cookiecutter.database == "sqlite" %>
    "development": {
        "LOG_FORMAT": "text",
        "DATABASE_URL": "sqlite:///{{ cookiecutter.project_slug }}.sqlite3",
    },
    "test": {"DATABASE_URL": "sqlite:///test.sqlite3"},
    # <% else %>
    "development": {"LOG_FORMAT": "text"},
    "test": {},
    # <% endif %>
}


# What can be sent as a bearer token (RFC 6750, section 2.1).
TOKEN = r"[A-Za-z0-9._~+/-]+=*"  # noqa: S105


class Bind(Struct, frozen=True):
    """An address to listen on: `host:port`, `[ipv6]:port` or `unix:/path`."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Bind":
        if text.startswith("unix:"):
            if not text.startswith("unix:/"):
                raise ValueError("must name an absolute path, as unix:/run/service.sock does")
            return cls(path=text.removeprefix("unix:"))
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):([0-9]{1,5})", text)
        if match is None:
            raise ValueError(f"{text!r} is neither host:port nor unix:/path")
        host, port = match[1].strip("[]"), int(match[2])
        if match[1] != host:
            ipaddress.IPv6Address(host)  # its ValueError says what is wrong
        if not 0 < port < 65536:
            raise ValueError(f"port {port} is not between 1 and 65535")
        return cls(host=host, port=port)

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ApiTokens(Struct, frozen=True):
    """Who may call the service: pairs of a caller's name and its bearer token."""

    pairs: tuple[tuple[str, Secret], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "ApiTokens":
        # A name has fewer characters than a token, and no message quotes either: whoever mixes
        # them up must not find the token in a log.
        pairs = []
        for number, entry in enumerate(text.split(","), 1):
            if not entry.strip():
                continue
            name, _, token = entry.strip().partition(":")
            if not re.fullmatch(r"[A-Za-z0-9._-]{1,31}", name):
                raise ValueError(
                    f"entry {number} is not name:token, with a name of 1 to 31 letters, digits, . _ -"
                )
            if not re.fullmatch(TOKEN, token):
                raise ValueError(
                    f"the token of entry {number} is empty or has more than letters, digits, "
                    "- . _ ~ + / and = at its end"
                )
            pairs.append((name, Secret(token)))
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("two tokens have the same name")
        return cls(tuple(pairs))

    def name_of(self, token: str) -> str | None:
        """Return who holds this token, in a time that does not tell how much of it is right."""
        found = None
        for name, secret in self.pairs:
            if hmac.compare_digest(secret.reveal().encode(), token.encode()):
                found = name
        return found

    def too_weak(self) -> bool:
        """Whether a token is too short to be unguessable: under 32 characters."""
        return any(len(secret.reveal()) < 32 for _, secret in self.pairs)


class AdminToken(ApiTokens, frozen=True):
    """The token for /metrics; two, separated by a comma, while one replaces the other."""

    @classmethod
    def parse(cls, text: str) -> "AdminToken":
        named = (f"admin-{i}:{token.strip()}" for i, token in enumerate(text.split(",")))
        return cls(ApiTokens.parse(",".join(named)).pairs)


class Origins(Struct, frozen=True):
    """The origins, as `https://app.example.com`, whose scripts may call the service."""

    origins: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Origins":
        origins = tuple(filter(None, (part.strip() for part in text.split(","))))
        for origin in origins:
            if not re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", origin):
                raise ValueError(f"{origin!r} is not an origin like https://app.example.com")
        return cls(origins)


# <% if cookiecutter.database == "sqlite" %>
class DatabaseUrl(Secret):
    """`sqlite:///relative/path` or `sqlite:////absolute/path`."""

    @classmethod
    def parse(cls, text: str) -> "DatabaseUrl":
        if not re.fullmatch(r"sqlite:///[^?#:]+", text):
            raise ValueError("must be sqlite:///relative/path or sqlite:////absolute/path")
        return cls(text)


# <% endif %>
class Settings(Struct, frozen=True, kw_only=True):
    """All settings. No handler is ended by `request_deadline`: it is for the clients it uses."""

    app_env: Environment = "production"
    bind: Bind = Bind(host="127.0.0.1", port=8000)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"
    api_tokens: ApiTokens = ApiTokens()
    admin_token: AdminToken = AdminToken()
    trusted_proxies: Annotated[int, Meta(ge=0, le=8)] = 0
    max_body_bytes: Annotated[int, Meta(ge=1, le=2**30)] = 2**20
    cors_origins: Origins = Origins()
    request_deadline: Annotated[float, Meta(gt=0, le=20)] = 20.0
    web_concurrency: Annotated[int, Meta(ge=1, le=64)] = {{ 2 if cookiecutter.wsgi_server != 'waitress' else 1 }}
    web_threads: Annotated[int, Meta(ge=1, le=256)] = 4
    # <% if cookiecutter.wsgi_server == "gunicorn" %>
    worker_class: Literal["gthread", "gevent"] = "gthread"
    # <% endif %>
    # <% if cookiecutter.database == "sqlite" %>
    database_url: DatabaseUrl = DatabaseUrl(PRODUCTION_DATABASE)
    # <% endif %>


SECRETS = frozenset(
    {
        "ADMIN_TOKEN",
        "API_TOKENS",
        # <% if cookiecutter.database == "sqlite" %>
        "DATABASE_URL",
        # <% endif %>
    }
)


def read_settings(environ: Mapping[str, str]) -> tuple[Settings, list[Problem]]:
    """Return the settings and all that is wrong with them; what is wrong has its default."""
    names = {field.name.upper() for field in fields(Settings)} - {"APP_ENV"}
    sources = Sources(environ, {*names, "PORT"}, SECRETS, DEFAULTS)
    if "PORT" in sources:
        port, where = sources["PORT"]
        if not re.fullmatch("[0-9]{1,5}", port):
            sources.problems.append(Problem("PORT", f"{port!r} is not a port", where))
        elif "BIND" not in sources:
            sources["BIND"] = Found(f"0.0.0.0:{port}", f"PORT, {where}")
    settings, problems = read(Settings, sources, app_env=sources.environment)
    if (environ.get("APP_ENV") or "production") == "production":  # and not where that stands in
        for setting, tokens in (
            ("ADMIN_TOKEN", settings.admin_token),
            ("API_TOKENS", settings.api_tokens),
        ):
            if tokens.too_weak():
                reason = "a token has fewer than 32 characters"
                problems.append(Problem(setting, reason, sources[setting].where))
    return settings, problems


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings of this process.

    Raises BootError with every problem at once.
    """
    settings, problems = read_settings(environ)
    if problems:
        raise BootError(problems)
    return settings

"""The settings that every service has, and their types.

A field's upper-case name is the setting's name, and its default is the one in production. A
service adds fields, and the defaults of other environments, in a subclass. How values are read:
config.py. The types of fields:

    str, int, float, bool       `true` or `false`; Annotated[int, Meta(ge=1)] limits the values
    Literal["a", "b"], an Enum  one of these values
    Path, Url, timedelta        30 (seconds), 30s, 15m, 12h, 7d
    list[X], tuple[X, ...]      values separated by commas
    Secret                      never logged; Annotated[Secret, Meta(min_length=32)] limits the length
    X | None = None             an optional setting; a field without a default is a required one
"""

import hmac
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from msgspec import Meta, Struct
from msgspec.structs import fields

from .config import AppEnv, RawValue, SettingsReader, format_value, kinds_in, parse_settings
from .secret import Secret
from .startup import StartupError, StartupProblem

__all__ = [
    "TOKEN",
    "AdminToken",
    "AllowedOrigins",
    "ApiTokens",
    "Bind",
    "DatabaseSettings",
    "Defaults",
    "ServiceSettings",
    "SettingInForce",
    "Url",
]

# Values of settings that differ from production's, by APP_ENV.
Defaults = Mapping[AppEnv, Mapping[str, str]]

# The characters of a bearer token (RFC 6750, section 2.1).
TOKEN = r"[A-Za-z0-9._~+/-]+=*"  # noqa: S105


class Bind(Struct, frozen=True):
    """An address to listen on: `host:port`, `[ipv6]:port` or `unix:/path`."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address. Raises ValueError with the reason."""
        if text.startswith("unix:"):
            if not text.startswith("unix:/"):
                raise ValueError("must be an absolute path, such as unix:/run/service.sock")
            path = text.removeprefix("unix:")
            if len(os.fsencode(path)) > 107:
                reason = "is longer than 107 bytes, the limit of a unix socket (sun_path, unix(7))"
                raise ValueError(f"the path {path} {reason}")
            return cls(path=path)
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):([0-9]{1,5})", text)
        if match is None:
            raise ValueError(f"{text!r} is neither host:port nor unix:/path")
        host, port = match[1].strip("[]"), int(match[2])
        if match[1] != host:
            ipaddress.IPv6Address(host)  # raises a ValueError with the reason
        if not 0 < port < 65536:
            raise ValueError(f"port {port} is not between 1 and 65535")
        return cls(host=host, port=port)

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ApiTokens(Struct, frozen=True):
    """The clients that may call the service: pairs of a client's name and its bearer token."""

    clients: tuple[tuple[str, Secret], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the clients in `name:token,name:token`.

        Raises ValueError, which quotes neither name nor token: people mix them up. Names are
        shorter than tokens, so a token in the place of a name is rejected.
        """
        clients = []
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
                    f"the token of entry {number} is empty or has characters other than letters, "
                    "digits, - . _ ~ + / and = at its end"
                )
            clients.append((name, Secret(token)))
        if len({name for name, _ in clients}) < len(clients):
            raise ValueError("two tokens have the same name")
        return cls(tuple(clients))

    def authenticate(self, token: str) -> str | None:
        """Return the name of the client with this token, or None, in constant time."""
        found = None
        for name, secret in self.clients:
            if hmac.compare_digest(secret.reveal().encode(), token.encode()):
                found = name
        return found

    def has_short_token(self) -> bool:
        """Return whether a token has fewer than 32 characters, so that it could be guessed."""
        return any(len(secret.reveal()) < 32 for _, secret in self.clients)


class AdminToken(ApiTokens, frozen=True):
    """The token for /metrics: one, or two separated by a comma during a rotation."""

    @classmethod
    def parse(cls, text: str) -> Self:
        named = (f"admin-{i}:{token.strip()}" for i, token in enumerate(text.split(",")))
        return cls(ApiTokens.parse(",".join(named)).clients)


class AllowedOrigins(Struct, frozen=True):
    """The origins, such as `https://app.example.com`, whose scripts may call the service."""

    items: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the origins, which commas separate. Raises ValueError."""
        origins = tuple(filter(None, (part.strip() for part in text.split(","))))
        for origin in origins:
            if not re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", origin):
                raise ValueError(f"{origin!r} is not an origin like https://app.example.com")
        return cls(origins)


class Url(str):
    """An absolute URL with http or https, such as `https://api.example.com/v1`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the URL. Raises ValueError, which does not quote it: it may hold a password."""
        try:
            url = urlsplit(text)
            valid = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:  # an invalid port, or an invalid IPv6 address
            valid = None
        if not valid or re.search(r"[\s\x00-\x1f\x7f]", text):
            raise ValueError("is not a URL such as https://api.example.com/v1")
        if "@" in url.netloc:
            raise ValueError("must not contain a user and password; use a setting of type Secret")
        return cls(text)


class SettingInForce(NamedTuple):
    """A setting for people: `value` is "set" for a secret, `source` is where it was read."""

    name: str
    value: str
    source: str


class ServiceSettings(Struct, frozen=True, kw_only=True):
    """The settings of every service: one frozen object, made once at startup.

    `request_deadline`, in seconds, is for the clients that a handler uses: it ends no handler.
    """

    defaults: ClassVar[Defaults] = {"development": {"LOG_FORMAT": "text"}}
    # Former names of settings, which work until version 0.4 of the template.
    renamed: ClassVar[Mapping[str, str]] = {"TRUSTED_PROXIES": "TRUSTED_PROXY_COUNT"}

    app_env: AppEnv = "production"
    bind: Bind = Bind(host="127.0.0.1", port=8000)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"
    api_tokens: ApiTokens = ApiTokens()
    admin_token: AdminToken = AdminToken()
    trusted_proxy_count: Annotated[int, Meta(ge=0, le=8)] = 0
    max_body_bytes: Annotated[int, Meta(ge=1, le=2**30)] = 2**20
    cors_origins: AllowedOrigins = AllowedOrigins()
    request_deadline: Annotated[float, Meta(gt=0, le=20)] = 20.0
    web_concurrency: Annotated[int, Meta(ge=1, le=64)] = 2
    web_threads: Annotated[int, Meta(ge=1, le=256)] = 4

    @classmethod
    def required(cls) -> frozenset[str]:
        """Return the names of the settings without a default."""
        return frozenset(field.name.upper() for field in fields(cls) if field.required)

    @classmethod
    def secrets(cls) -> frozenset[str]:
        """Return the names of the settings that hold a secret."""
        return frozenset(field.name.upper() for field in fields(cls) if _is_secret(field.type))

    @classmethod
    def read(
        cls, environ: Mapping[str, str]
    ) -> tuple[Self, list[StartupProblem], list[StartupProblem]]:
        """Return the settings, all problems and all warnings.

        Invalid settings have their defaults; required ones are None if they are invalid or missing.
        """
        reader = cls._read_raw(environ)
        settings, problems = parse_settings(cls, reader, app_env=reader.app_env)
        # An invalid APP_ENV is replaced by production, whose rules would only confuse the reader.
        if (environ.get("APP_ENV") or "production") == "production":
            tokens = {"ADMIN_TOKEN": settings.admin_token, "API_TOKENS": settings.api_tokens}
            problems += [
                StartupProblem(name, "a token has fewer than 32 characters", reader[name].source)
                for name, value in tokens.items()
                if value and value.has_short_token()
            ]
        return settings, problems, reader.warnings

    @classmethod
    def _read_raw(cls, environ: Mapping[str, str]) -> SettingsReader:
        names = {field.name.upper() for field in fields(cls)} - {"APP_ENV"}
        reader = SettingsReader(environ, {*names, "PORT"}, cls.secrets(), cls.defaults, cls.renamed)
        if "PORT" in reader:
            port, source = reader["PORT"]
            if not re.fullmatch("[0-9]{1,5}", port):
                reader.problems.append(StartupProblem("PORT", f"{port!r} is not a port", source))
            elif "BIND" not in reader or source == "environment" != reader["BIND"].source:
                host = "127.0.0.1" if reader.app_env == "development" else "0.0.0.0"  # noqa: S104
                reader["BIND"] = RawValue(f"{host}:{port}", f"PORT, {source}")
        return reader

    def describe(self, environ: Mapping[str, str]) -> list[SettingInForce]:
        """Return the settings with their sources, as read from the environment; no secret."""
        reader, secrets = self._read_raw(environ), self.secrets()
        described = []
        for field in fields(self):
            name, value = field.name.upper(), getattr(self, field.name)
            if name in secrets:
                text = "set" if name in reader else "not set"
            else:
                text = format_value(value) or str(value)
            source = reader[name].source if name in reader else "default"
            if name == "APP_ENV" and environ.get(name):
                source = "environment"
            described.append(SettingInForce(name, text, source))
        return described

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings of this process. Raises StartupError with every problem."""
        settings, problems, _ = cls.read(environ)
        if problems:
            raise StartupError(problems)
        return settings


class DatabaseSettings(ServiceSettings, frozen=True, kw_only=True):
    """The settings of a service with a database, besides the URL of the database.

    `backup_directory` has the backups of the last `backup_keep_days` days.
    """

    backup_directory: Path = Path("backups")
    backup_keep_days: Annotated[int, Meta(ge=1, le=3650)] = 14


def _is_secret(kind: Any) -> bool:
    return any(
        isinstance(one, type) and issubclass(one, (Secret, ApiTokens)) for one in kinds_in(kind)
    )

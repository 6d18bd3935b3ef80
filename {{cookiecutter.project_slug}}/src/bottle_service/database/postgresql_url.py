"""The setting DATABASE_URL of PostgreSQL."""

import re
from typing import Self
from urllib.parse import parse_qsl

from ..secret import Secret

__all__ = ["DatabaseUrl"]

# The options of libpq that the URL may contain; the driver would name an unknown one only when it
# connects. This module does not import the driver, which gevent must patch before its first import:
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
OPTIONS = frozenset({
    "application_name", "channel_binding", "connect_timeout", "gssencmode", "host", "hostaddr",
    "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname",
    "load_balance_hosts", "options", "passfile", "port", "require_auth", "service", "ssl_max_protocol_version",
    "ssl_min_protocol_version", "sslcert", "sslcertmode", "sslcrl", "sslcrldir", "sslkey", "sslmode",
    "sslnegotiation", "sslrootcert", "sslsni", "target_session_attrs", "tcp_user_timeout", "user",
})  # fmt: skip
CHOICES = {
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "target_session_attrs": {
        *("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    },
}
_AUTHORITY = r"""
    (?: [^:@/?\#]* (?: : [^:@/?\#]* )? @ )?                     # user, or user:password
    (?: [A-Za-z0-9._-]* | \[ [0-9A-Fa-f:.]+ \] ) (?: : [0-9]{1,5} )?   # host, or host:port
"""


class DatabaseUrl(Secret):
    """`postgresql:///NAME` over the unix socket, or `postgresql://user:password@host/NAME`.

    Options of libpq may follow, such as `?sslmode=verify-full&sslrootcert=/path`. Several hosts are
    options, too: `?host=a&host=b&target_session_attrs=read-write`.
    """

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the URL, with `postgresql://` for `postgres://`.

        Raises ValueError, which quotes no part that may belong to a password.
        """
        scheme, separator, rest = text.partition("://")
        if scheme not in ("postgresql", "postgres") or not separator:
            raise ValueError("must be postgresql:///NAME or postgresql://user:password@host/NAME")
        if rest.count("@") > 1 or re.search(r"[/?#\s].*@", rest) or re.search(r"[#\s]", rest):
            raise ValueError(
                "percent-encode the characters / ? # @ % and spaces in the user and password"
            )
        if re.search(r"%(?![0-9A-Fa-f]{2})", rest):
            raise ValueError("has a % without two hexadecimal digits; percent-encode % as %25")
        authority, _, path = rest.partition("/")
        if not re.fullmatch(_AUTHORITY, authority, re.VERBOSE):
            raise ValueError(
                "must have user:password@host:port between // and /; percent-encode other "
                "characters of the user and password; several hosts are ?host=a&host=b"
            )
        name, _, query = path.partition("?")
        if not re.fullmatch(r"[^/]+", name):
            raise ValueError("must end with the name of the database, such as postgresql:///NAME")
        _check_options(query)
        return cls(f"postgresql://{rest}")


def _check_options(query: str) -> None:
    for option, value in parse_qsl(query, keep_blank_values=True):
        if option == "password":
            raise ValueError("has the password as an option; write postgresql://user:password@host")
        if option not in OPTIONS:
            raise ValueError(f"unknown option {option!r}; available: {', '.join(sorted(OPTIONS))}")
        if option in CHOICES and value not in CHOICES[option]:
            raise ValueError(f"{option} must be one of {', '.join(sorted(CHOICES[option]))}")

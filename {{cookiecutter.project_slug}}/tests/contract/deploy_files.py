"""The files under deploy/, read for the tests that compare them."""

import re
from pathlib import Path

from .service import SERVICE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SLUG = SERVICE.name


def read(*patterns: str) -> str:
    """Return the text of the project's files that match; `SLUG` in a pattern is the service's name."""
    paths = [
        path for pattern in patterns for path in sorted(ROOT.glob(pattern.replace("SLUG", SLUG)))
    ]
    assert paths, f"there is no {' or '.join(patterns)}"
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def directives(text: str) -> dict[str, str]:
    """Return the `NAME=VALUE` lines of a unit."""
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def seconds(name: str, text: str) -> list[float]:
    """Return each value of a timeout, as Nginx, systemd, supervisord, Python and uWSGI write it."""
    pattern = rf"^ *{re.escape(name)}(?: = |=| )([\d.]+)s?(?:;|$|  #)"
    return [float(value) for value in re.findall(pattern, text, re.MULTILINE)]

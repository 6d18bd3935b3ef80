"""Parser of a service's log."""

import json
from collections.abc import Iterable
from typing import Any


def parse_log(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Parse log lines, without those that uWSGI prints before it reads its log format."""
    return [json.loads(line) for line in lines if not line.startswith(("[", "running"))]

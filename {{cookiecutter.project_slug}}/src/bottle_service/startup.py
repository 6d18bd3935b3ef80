"""Reasons why the service must not start."""

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["StartupError", "StartupProblem"]


class StartupProblem(NamedTuple):
    """One reason why the service must not start.

    `setting` is the setting to change, or "" if none is to blame; `source` is where it was read,
    or the file or route that has the problem. `reason` states the problem and the remedy.
    """

    setting: str
    reason: str
    source: str = ""

    def __str__(self) -> str:
        if not self.setting:
            return f"{self.source}: {self.reason}"
        source = f" ({self.source})" if self.source else ""
        return f"{self.setting}{source}: {self.reason}"


class StartupError(Exception):
    """The service must not start; `problems` holds every reason that was found."""

    def __init__(self, problems: Iterable[StartupProblem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(map(str, self.problems)))

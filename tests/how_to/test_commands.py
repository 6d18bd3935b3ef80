"""docs/how-to/commands.md. debian/test_timers.py runs timers, and debian/test_supervisord.py the line of cron."""

import pytest

from ..support.fixtures import Generate
from ..support.generate import Answers, name_of
from ..support.matrix import LARGEST, SMALLEST
from .steps import check, follow


@pytest.mark.parametrize("answers", [LARGEST, SMALLEST], ids=name_of)
def test_command_can_be_added(copied: Generate, answers: Answers) -> None:
    project = copied(**answers)
    output, printed = follow(project, "commands.md")
    assert printed.rstrip().endswith("0" if answers["database"] == "sqlite" else "INFO")
    assert ("removed 0 notes" if answers["database"] == "sqlite" else "later: 20") in output
    check(project)

"""docs/how-to/email.md: its tests send to a real SMTP server."""

import pytest

from ..support.fixtures import Generate
from ..support.generate import Answers, name_of
from ..support.matrix import LARGEST, SMALLEST
from .steps import check, follow


@pytest.mark.parametrize("answers", [LARGEST, SMALLEST], ids=name_of)
def test_email_can_be_sent(copied: Generate, answers: Answers) -> None:
    project = copied(**answers)
    follow(project, "email.md")
    check(project)

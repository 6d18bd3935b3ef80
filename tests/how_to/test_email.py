"""docs/how-to/email.md: its tests send to a real SMTP server."""

from ..support.fixtures import Generate
from ..support.matrix import LARGEST
from .steps import check, follow


def test_email_can_be_sent(copied: Generate) -> None:
    project = copied(**LARGEST)
    follow(project, "email.md")
    check(project, "tests/test_feedback.py")

"""docs/how-to/webhooks.md."""

from ..support.fixtures import Generate
from .steps import check, follow


def test_signed_events_are_recorded(copied: Generate) -> None:
    project = copied()
    follow(project, "webhooks.md")
    check(project, "tests/test_webhooks.py")

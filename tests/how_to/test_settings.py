"""docs/how-to/settings.md."""

from ..support.fixtures import Generate
from ..support.matrix import LARGEST
from .steps import check, follow


def test_setting_and_secret_can_be_added(copied: Generate) -> None:
    project = copied(**LARGEST)
    follow(project, "settings.md")
    check(project)

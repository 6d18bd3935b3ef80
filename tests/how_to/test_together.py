"""Several pages that are followed in one project, without a database."""

from ..support.fixtures import Generate
from ..support.matrix import SMALLEST
from ..support.process import run
from .steps import check, follow

PAGES = (
    "metrics",
    "settings",
    "calling-services",
    "email",
    "identity-provider",
    "cache",
    "testing",
)


def test_pages_can_be_followed_in_one_project(copied: Generate) -> None:
    project = copied(**SMALLEST)
    for page in PAGES:
        follow(project, f"{page}.md")
    check(project)
    run("make", "test-server", cwd=project)

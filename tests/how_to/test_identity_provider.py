"""docs/how-to/identity-provider.md: its tests run a provider of their own."""

from ..support.fixtures import Generate
from ..support.matrix import LARGEST
from .steps import check, follow


def test_tokens_of_a_provider_can_be_accepted(copied: Generate) -> None:
    project = copied(**LARGEST)
    follow(project, "identity-provider.md")
    check(project, "tests/test_identity.py")

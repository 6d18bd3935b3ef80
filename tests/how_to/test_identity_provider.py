"""docs/how-to/identity-provider.md: its tests run a provider of their own."""

import pytest

from ..support.fixtures import Generate
from ..support.generate import Answers, name_of
from ..support.matrix import LARGEST, SMALLEST
from .steps import check, follow


@pytest.mark.parametrize("answers", [LARGEST, SMALLEST], ids=name_of)
def test_tokens_of_a_provider_can_be_accepted(copied: Generate, answers: Answers) -> None:
    project = copied(**answers)
    follow(project, "identity-provider.md")
    check(project)

"""docs/how-to/existing-bottle-application.md."""

import pytest

from ..support.fixtures import Generate
from ..support.generate import Answers, name_of
from ..support.matrix import LARGEST, SMALLEST
from .steps import check, follow


@pytest.mark.parametrize("answers", [LARGEST, SMALLEST], ids=name_of)
def test_existing_application_can_be_taken_in(copied: Generate, answers: Answers) -> None:
    project = copied(**answers)
    follow(project, "existing-bottle-application.md")
    check(project)

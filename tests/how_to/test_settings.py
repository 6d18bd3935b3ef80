"""docs/how-to/settings.md."""

import pytest

from ..support.fixtures import Generate
from ..support.generate import Answers, name_of
from ..support.matrix import LARGEST, SMALLEST
from .steps import check, follow


@pytest.mark.parametrize("answers", [LARGEST, SMALLEST], ids=name_of)
def test_setting_and_secret_can_be_added(copied: Generate, answers: Answers) -> None:
    project = copied(**answers)
    follow(project, "settings.md")
    check(project)

"""docs/how-to/testing.md."""

import pytest

from ..support.fixtures import Generate
from ..support.generate import Answers, name_of
from ..support.matrix import LARGEST, SMALLEST
from .steps import check, follow


@pytest.mark.parametrize("answers", [LARGEST, SMALLEST], ids=name_of)
def test_clock_can_be_set_and_samples_written(copied: Generate, answers: Answers) -> None:
    project = copied(**answers)
    outputs = follow(project, "testing.md")
    assert all("wrote 20 notes" in output for output in outputs)
    check(project)

"""docs/how-to/testing.md."""

from ..support.fixtures import Generate
from ..support.matrix import LARGEST
from .steps import check, follow


def test_clock_can_be_set_and_samples_written(copied: Generate) -> None:
    project = copied(**LARGEST)
    outputs = follow(project, "testing.md")
    assert all("wrote 20 notes" in output for output in outputs)
    check(project, *(f"tests/test_{name}.py" for name in ("log_entries", "rows", "seed", "time")))

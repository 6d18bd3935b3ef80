"""Each page of docs/how-to/ has a test that follows it, and the index lists it."""

import re
from pathlib import Path

from ..support.fixtures import Generate
from ..support.matrix import GROUPS
from .steps import DIRECTORY


def test_each_page_is_followed_by_a_test(generated: Generate) -> None:
    pages = {page.name for group in GROUPS for page in (generated(**group) / DIRECTORY).iterdir()}
    tests = Path(__file__).parent.glob("test_*.py")
    followed = {name for test in tests for name in re.findall(r'"([a-z-]+\.md)"', test.read_text())}
    assert pages == followed


def test_readme_lists_each_page(generated: Generate) -> None:
    for group in GROUPS:
        project = generated(**group)
        listed = re.findall(rf"\]\({DIRECTORY}/([^)]+)\)", (project / "README.md").read_text())
        assert sorted(listed) == sorted(page.name for page in (project / DIRECTORY).iterdir())

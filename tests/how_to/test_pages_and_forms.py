"""docs/how-to/pages-and-forms.md."""

from ..support.fixtures import Generate
from ..support.matrix import LARGEST
from .steps import check, follow


def test_page_with_a_form_can_be_added(copied: Generate) -> None:
    project = copied(**LARGEST)
    follow(project, "pages-and-forms.md")
    check(project)

"""docs/how-to/files.md."""

from ..support.fixtures import Generate
from ..support.process import run
from .steps import check, follow


def test_csv_file_is_imported_and_exported(copied: Generate) -> None:
    project = copied()
    follow(project, "files.md")
    check(project, "tests/test_products.py")
    # A file is sent by the server's own wsgi.file_wrapper.
    run(".venv/bin/pytest", "--server", "tcp", "tests/test_products.py", cwd=project)

"""Removal of the examples as the generated README says; `make lint test` still passes."""

import ast
import re
from pathlib import Path

import pytest

from ..support.fixtures import Generate
from ..support.generate import Answers, name_of
from ..support.markdown import blocks
from ..support.process import run
from ..support.shared_venv import use_shared_venv

TABLE = """

class Loan(Base):
    __tablename__ = "loans"

    id: Mapped[int] = mapped_column(primary_key=True)
"""
KEPT = {"Base", "ListQuery"}


def without(path: Path, *names: str) -> None:
    """Remove definitions from a module."""
    lines = path.read_text().splitlines(keepends=True)
    for node in reversed(ast.parse("".join(lines)).body):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name in names:
            del lines[node.lineno - 1 : node.end_lineno]
    path.write_text("".join(lines))


def classes(path: Path) -> set[str]:
    """Return the names of a module's classes."""
    nodes = ast.parse(path.read_text()).body
    return {node.name for node in nodes if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize(
    "answers",
    [{"database": "sqlite"}, {"database": "none"}],
    ids=name_of,
)
def test_examples_can_be_removed(copied: Generate, answers: Answers) -> None:
    project = copied(**answers)
    use_shared_venv(project)
    package = project / "src" / "my_service"
    table = package / "routes" / "__init__.py"
    of_resource, *of_history, of_page = blocks(project, "README.md", "Make it yours")
    name = "greetings" if answers["database"] == "none" else "notes"

    inside = r"(?:        .*\n)*"
    route = rf"(?m)^    app\.route\((.*\b{name}\..*|\n{inside}        {name}\..*\n{inside}    )\)\n"
    lines = re.sub(route, "", table.read_text())
    table.write_text(re.sub(rf"(?m)^(from \. import .*)\b{name}, ", r"\1", lines))
    for module in ("models.py", "schemas.py"):
        if (package / module).exists():
            without(package / module, *(classes(package / module) - KEPT))
    run("sh", "-ec", of_resource, cwd=project)
    summary = run("make", "lint", "test", cwd=project)
    left = rf"\b({name}|{name.title()[:-1]}\w*)\b"
    assert not [path for path in package.glob("r*/*.py") if re.search(left, path.read_text())]
    assert "passed" in summary
    if name == "notes":
        (written,) = (package / "migrations" / "versions").glob("0002_no_notes.py")
        assert "drop_table('notes')" in written.read_text().replace('"', "'")
        run("sh", "-ec", *of_history, cwd=project)
        run("make", "lint", "test", "migrate", cwd=project)
        models = package / "models.py"
        imports = "import DeclarativeBase, Mapped, mapped_column"
        models.write_text(models.read_text().replace("import DeclarativeBase", imports) + TABLE)
        run("make", "migration", "MESSAGE=Loans", cwd=project)
        history = sorted(path.name for path in (package / "migrations" / "versions").glob("*.py"))
        assert history == ["0001_tables.py", "0002_loans.py"]

    table.write_text(re.sub(r"(?m)^    app.*\bpages\.home\b.*\n", "", table.read_text()))
    without(package / "routes" / "pages.py", "home")
    run("sh", "-ec", of_page, cwd=project)
    run("make", "lint", "test", cwd=project)
    assert run("make", "test-server", cwd=project).count("shared cases passed") == 2

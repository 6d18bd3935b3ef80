"""The shape of the code: imports point down the floors, and the template's part stays small."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from .service import COMMAND, ROOT

PACKAGE = ROOT / "src" / COMMAND[-1]

# A module imports from floors below its own, or from its own package.
FLOORS = [
    ["dev", "__main__", "wsgi"],
    ["server"],
    ["app"],
    ["routes"],
    ["assets"],
    # <% if cookiecutter.database == "sqlite" %>
    ["database"],
    ["web", "telemetry", "models", "migrations"],
    # <% else %>
    ["web", "telemetry", "models"],
    # <% endif %>
    ["settings"],
    ["environment"],
]
FLOOR_OF = {name: len(FLOORS) - i for i, names in enumerate(FLOORS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Yield the top name of each module of the package that this one imports."""
    package = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                yield [*base, *name.split(".")][0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    name = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if name == "__init__":
        return
    for other in imported(path):
        assert other == name or FLOOR_OF[other] < FLOOR_OF[name], f"{name} imports {other}"


@pytest.mark.parametrize(("directory", "most"), [("web", 900), ("telemetry", 400)])
def test_the_template_stays_small(directory: str, most: int) -> None:
    lengths = {
        path.name: sum(bool(line.strip()) for line in path.read_text().splitlines())
        for path in (PACKAGE / directory).glob("*.py")
    }
    assert sum(lengths.values()) <= most
    assert max(lengths.values()) <= 200

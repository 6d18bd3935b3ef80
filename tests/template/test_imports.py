"""Imports among the tests: shared code is in support/, and no module imports a test module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.generate import TEMPLATE

TESTS = TEMPLATE / "tests"
FOLDERS = ("bench", "tests", "tools")


def imported(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, such as tests.support.git."""
    package = path.relative_to(TEMPLATE).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_no_module_imports_a_test_module() -> None:
    for path in (path for folder in FOLDERS for path in (TEMPLATE / folder).rglob("*.py")):
        own = [name for name in imported(path) if name.startswith("tests.")]
        parts = {part for name in own for part in name.split(".")[1:]}
        assert not [part for part in parts if part.startswith("test_") or part == "conftest"], path


def test_support_imports_no_other_folder() -> None:
    for path in (TESTS / "support").glob("*.py"):
        own = [name for name in imported(path) if name.startswith("tests.")]
        assert all(name.split(".")[1] == "support" for name in own), path


def test_forbidden_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.TEMPLATE", tmp_path)
    path = tmp_path / "tests" / "nginx" / "test_new.py"
    path.parent.mkdir(parents=True)
    path.write_text("from .test_site import STACKS\nfrom . import conftest\n")
    found = {*imported(path)}
    assert {"tests.nginx.test_site", "tests.nginx.conftest"} <= found

"""Structure of bottle_service: its imports, its public names, and its copies in projects."""

import ast
import graphlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from ..support.fixtures import Generate
from . import PROJECT, SOURCES

PACKAGE = "bottle_service"
FILES = sorted((SOURCES / PACKAGE).rglob("*.py"))
# The libraries that the package may import: dependencies of a project.
LIBRARIES = {
    *(
        "alembic",
        "bottle",
        "dotenv",
        "gunicorn",
        "msgspec",
        "multipart",
        "prometheus_client",
        "psycopg",
    ),
    *("sqlalchemy", "waitress", "watchfiles"),
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in FILES}


def imported(name: str) -> Iterator[str]:
    """Yield the absolute name of each import of a module, of every kind and at every depth."""
    path = MODULES[name]
    parts = path.relative_to(SOURCES).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level + 1] if node.level else ()
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield inner if inner in MODULES else source


def part_of(name: str) -> str:
    """Return the module or subpackage of bottle_service that a module belongs to."""
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("name", MODULES)
def test_package_imports_nothing_of_the_owner(name: str) -> None:
    allowed = {PACKAGE, *LIBRARIES, *sys.stdlib_module_names}
    assert {module.partition(".")[0] for module in imported(name)} <= allowed


def test_modules_form_no_cycle() -> None:
    graph = {name: {other for other in imported(name) if other in MODULES} for name in MODULES}
    runtime = {
        name: others - type_checking_imports(name) - {PACKAGE} for name, others in graph.items()
    }
    list(graphlib.TopologicalSorter(runtime).static_order())  # raises CycleError


def test_subpackages_form_no_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for name in MODULES:
        others = {part_of(other) for other in imported(name) if other in MODULES}
        others -= {part_of(other) for other in type_checking_imports(name)}
        graph.setdefault(part_of(name), set()).update(others - {part_of(name), PACKAGE})
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def type_checking_imports(name: str) -> set[str]:
    """Return the modules that are imported for type checkers only."""
    parts = MODULES[name].relative_to(SOURCES).parent.parts
    found = set()
    for node in ast.parse(MODULES[name].read_text()).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for inner in node.body:
                if isinstance(inner, ast.ImportFrom) and inner.level:
                    base = parts[: len(parts) - inner.level + 1]
                    found.add(".".join([*base, *filter(None, [inner.module])]))
    return found


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_documented(name: str) -> None:
    module = import_module(name)
    assert module.__doc__
    names = getattr(module, "__all__", None)
    if names is None:
        # Only a subpackage, whose modules are imported by their own names.
        assert hasattr(module, "__path__")
        return
    values = {name: getattr(module, name) for name in names}
    documented = {
        name: value.__doc__
        for name, value in values.items()
        if isinstance(value, type) or inspect.isfunction(value)
    }
    assert [name for name, text in documented.items() if not text] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCES)))
def test_package_holds_no_jinja(path: Path) -> None:
    text = path.read_text()
    assert not [mark for mark in ("{{", "{%", "# <%", "cookiecutter.") if mark in text]


def test_package_has_the_same_bytes_in_every_project(generated: Generate) -> None:
    for answers in (
        {"wsgi_server": "gunicorn"},
        {"wsgi_server": "waitress", "database": "none"},
        {"wsgi_server": "uwsgi", "supervisor": "supervisord", "project_name": "Other Name"},
    ):
        project = generated(**answers)
        files = {path.relative_to(project) for path in project.rglob("src/bottle_service/**/*.py")}
        files |= {Path(name) for name in ("gunicorn.conf.py", "uwsgi.ini")}
        present = [path for path in files if (project / path).exists()]
        assert len(present) > 25
        for path in present:
            assert (project / path).read_bytes() == (PROJECT / path).read_bytes(), path


def test_server_module_imports_no_other_server() -> None:
    """Each project has the module of its own server only."""
    for server in ("gunicorn", "waitress", "uwsgi"):
        code = (
            "import sys\n"
            f"import bottle_service.servers.{server}\n"
            "names = ('gunicorn', 'waitress', 'uwsgi')\n"
            "print(*(n for n in names if f'bottle_service.servers.{n}' in sys.modules))"
        )
        done = subprocess.run(
            [sys.executable, "-B", "-c", code],
            cwd=SOURCES,
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout.split() == [server]

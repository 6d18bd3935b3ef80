"""Every block of code in every document is run, and every command that a text names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ..support.fixtures import Generate
from ..support.generate import TEMPLATE
from ..support.markdown import blocks, read_blocks
from ..support.matrix import GROUPS
from ..support.process import run

# Whether of the template; the document; the section, None for all of it; the language.
Place = tuple[bool, str, str | None, str]

# What stands in a line of text: the test that types it, or why none does.
NAMED = {
    "make run": "test_first_run.py::test_a_change_restarts_the_service",
    "make test": "test_readme.py::test_the_suite_on_each_python_here",
    "make live": "test_readme.py::test_make_ci_with_uv",
    "make lint": "test_readme.py::test_make_ci_with_uv",
    "make format": "test_make_it_yours.py::test_the_examples_are_taken_away",
    "make help": "test_readme.py::test_make_help_lists_what_there_is",
    "make ci": "test_readme.py::test_make_ci_with_uv",
    "make lock": "test_locks.py::test_make_lock_changes_nothing",
    'make migration MESSAGE="…"': "test_readme.py::test_a_migration_is_made_as_the_readme_says",
    "make lock ci": "test_update.py::test_update_from",
    "make demo": "test_first_run.py::test_make_demo",
    "make new": "test_first_run.py::test_make_new",
    "make new TO=directory": "test_first_run.py::test_make_new",
    "make picture": "test_first_run.py::test_the_picture_is_what_make_picture_draws",
    "make audit": "test_audit.py::test_nothing_is_known",
    "make update": "test_update.py::test_update_from",
    "make upgrade": "test_ci.py::test_maintenance",
    "make events": "test_boot.py and others are its short form",
    "make faults": "test_faults.py is its short form",
    "python -m my_service check": "test_asgi.py::test_the_recipe",
    "cookiecutter PATH": "test_generation.py::test_nothing_but_the_project_is_written",
    "make bench": "measures, and for minutes",
    "make fuzz": "test_fuzz.py is its short form",
    "make soak": "test_endurance.py is its short form",
    "REQUIRE_ALL=1 make test": "these tests themselves: .ci/run",
    "EVENTS=20000 make events": "test_boot.py and others are its short form",
    "FAULTS='*/deploy/nginx/*' make faults": "test_faults.py is its short form",
    "pre-commit install": "test_ci.py::test_pre_commit",
}
# What an operator types is tried on a machine: Host.cures.
COMMANDS = r"(?:[A-Z_]+=\S+ )?(?:make|cookiecutter|python -m|pre-commit) [^`\n]+"


def documents(root: Path) -> list[Path]:
    return sorted({*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("deploy/*.md")})


def told(root: Path) -> Iterator[Place]:
    """Yield where the documents of the template, or of a project, have blocks."""
    for document in documents(root):
        for block in read_blocks(document):
            name = document.relative_to(root).as_posix()
            yield root == TEMPLATE, name, block.title, block.language


def run_by(file: Path) -> Iterator[Place]:
    """Yield what the tests of a file take from documents to run it."""
    for call in ast.walk(ast.parse(file.read_text())):
        if isinstance(call, ast.Call):
            root = ast.unparse(call.args[0]) if call.args else ""
            given = [a.value for a in call.args if isinstance(a, ast.Constant)]
            match ast.unparse(call.func).rpartition(".")[2], *given:
                case "blocks", str(name), str(title), str(language):
                    yield root == "TEMPLATE", name, title, language
                case "blocks", str(name), str(title):
                    yield root == "TEMPLATE", name, title, "sh"
                case "blocks", str(name):
                    yield root == "TEMPLATE", name, None, "sh"
                case "section", *titles:
                    yield False, "deploy/README.md", "".join(map(str, titles)), "sh"


def test_every_block_is_run(generated: Generate) -> None:
    there = {
        place for root in (TEMPLATE, *(generated(**g) for g in GROUPS)) for place in told(root)
    }
    claims = {place for file in TEMPLATE.glob("tests/**/*.py") for place in run_by(file)}
    claims |= {place for place in there if (*place[:2], None, place[3]) in claims}
    assert there <= claims, f"run by no test: {sorted(there - claims)}"
    print(f"{len(there)} kinds of blocks, by document, section and language, are run")


def test_every_command_in_a_text_is_run(generated: Generate) -> None:
    found = set[str]()
    for root in (TEMPLATE, *(generated(**group) for group in GROUPS)):
        for document in documents(root):
            if document.name != "CHANGELOG.md":
                found |= set(re.findall(rf"`({COMMANDS})`", document.read_text()))
    assert found == set(NAMED)
    for command, test in NAMED.items():
        file, _, name = test.partition("::")
        if name:
            assert f"\ndef {name}(" in (TEMPLATE / "tests" / file).read_text(), command


def test_ci_runs_what_contributors_are_told_to_run() -> None:
    (proven,) = blocks(TEMPLATE, "README.md", "How it is proven")
    (both,) = blocks(TEMPLATE, "CONTRIBUTING.md", "")
    script = (TEMPLATE / ".ci" / "run").read_text()
    for command in (*proven.splitlines(), *both.splitlines()):
        assert re.search(rf"^(REQUIRE_ALL=1 )?{command}$", script, re.MULTILINE)


def test_the_commands_of_tests_name_tests() -> None:
    """They run these tests themselves, so they are only collected."""
    texts = "".join(document.read_text() for document in documents(TEMPLATE))
    commands = re.findall(r"`\.venv/bin/(pytest [^`]+)`", texts)
    assert commands
    for command in commands:
        run(*command.split(), "--collect-only", cwd=TEMPLATE)


def test_the_trees_are_as_told(generated: Generate) -> None:
    """Each path that a line of a listing begins with is there."""
    project = generated()
    listings = [
        (TEMPLATE, text) for text in blocks(TEMPLATE, "CONTRIBUTING.md", "Where things are", "")
    ]
    listings += [(project, text) for text in blocks(project, "README.md", "Where things are", "")]
    for root, listing in listings:
        told = re.findall(r"^( *)((?:[^\s:,]*[./][^\s:,]*(?: +|$))+)", listing, re.MULTILINE)
        assert len(told) > 5
        place = root
        for indent, names in told:
            for path in names.split():
                assert ((place if indent else root) / path).exists(), path
            place = place if indent else root / names.split()[0]

"""Documents: a test runs each code block and each command that a text names."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from ..support.fixtures import Generate
from ..support.generate import TEMPLATE
from ..support.markdown import blocks, read_blocks
from ..support.matrix import GROUPS
from ..support.process import run

# Whether the template's; document; section, None for all of them; language.
Place = tuple[bool, str, str | None, str]

# Commands in the lines of a text, and the tests that run them, or the reason why none does.
NAMED = {
    "make run": "installation/test_first_run.py::test_make_run_reloads_after_a_change",
    "make test": "installation/test_commands.py::test_suite_on_each_installed_python_passes",
    "make test-server": "workflows/test_workflows.py::test_ci_job_passes",
    "make lint": "workflows/test_workflows.py::test_ci_job_passes",
    "make format": "owner/test_make_it_yours.py::test_examples_can_be_removed",
    "make help": "project/test_readme.py::test_make_help_lists_all_targets",
    "make ci": "workflows/test_workflows.py::test_ci_job_passes",
    "make lock": "installation/test_locks.py::test_make_lock_changes_nothing",
    'make migration MESSAGE="…"': "installation/test_commands.py::test_readme_migration_example_works",
    "make migrate": "installation/test_commands.py::test_readme_migration_example_works",
    "make format ci": "how_to/test_together.py::test_pages_can_be_followed_in_one_project",
    "make lock ci": "owner/test_update.py::test_update_from_release_keeps_the_owners_changes",
    "make demo": "installation/test_first_run.py::test_make_demo_serves_the_service",
    "make new": "installation/test_first_run.py::test_make_new_generates_the_project",
    "make new TO=directory": "installation/test_first_run.py::test_make_new_generates_the_project",
    "make screenshot": "installation/test_first_run.py::test_screenshot_is_current",
    "make audit": "installation/test_audit.py::test_audit_without_known_vulnerability_passes",
    "make update": "owner/test_update.py::test_update_from_release_keeps_the_owners_changes",
    "make update-template": "owner/test_update.py::test_update_from_release_keeps_the_owners_changes",
    """make update-template ANSWERS='{"wsgi_server": "waitress"}'""": "owner/test_update.py::test_update_changes_answers",
    "make upgrade-deps": "workflows/test_workflows.py::test_maintenance_job_proposes_updates",
    "make availability": "tests/debian is its short form",
    "make mutants": "tests/mutation is its short form",
    "python -m my_service check": "project/test_asgi.py::test_asgi_recipe_works",
    "python -m my_service openapi": "package/test_cli.py::test_openapi_prints_the_document",
    "python -m my_service openapi > openapi.json": "how_to/test_openapi.py is its short form",
    "cookiecutter PATH": "template/test_generation.py::test_generation_writes_only_the_project",
    "cookiecutter --no-input PATH wsgi_server=waitress database=none": "template/test_prompts.py::test_unusual_name_generates_a_valid_project",
    "make bench": "takes minutes",
    "make fuzz": "tests/fuzz is its short form",
    "make soak": "tests/endurance is its short form",
    "make test-all": ".ci/run",
    "REQUIRE_ALL=1 make test-all": ".ci/run",
    "AVAILABILITY=20000 make availability": "tests/debian is its short form",
    "MUTANTS='*/deploy/nginx/*' make mutants": "tests/mutation is its short form",
    "MUTANTS='gunicorn/deploy/nginx/my-service.conf:36' make mutants": "tests/mutation is its short form",
    "pre-commit install": "workflows/test_workflows.py::test_pre_commit_rejects_lint_errors",
}
# tests/debian runs an operator's commands on a machine: Host.runbook_commands.
COMMANDS = r"(?:[A-Z_]+=\S+ )?(?:make|cookiecutter|python -m|pre-commit) [^`\n]+"


def documents(root: Path) -> list[Path]:
    """Return the documents of the template or of a project."""
    return sorted({*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("deploy/**/*.md")})


def code_blocks(root: Path) -> Iterator[Place]:
    """Yield the place of each code block in the documents."""
    for document in documents(root):
        if document.parent.name == "how-to":  # how_to/test_pages.py
            continue
        for block in read_blocks(document):
            name = document.relative_to(root).as_posix()
            yield root == TEMPLATE, name, block.title, block.language


def run_by(file: Path) -> Iterator[Place]:
    """Yield the places of the code blocks that the tests of a file run."""
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
                case "emperor_section", str(title):
                    yield False, "deploy/uwsgi/README.md", title, "sh"
                case "section", *titles:
                    yield False, "deploy/README.md", "".join(map(str, titles)), "sh"


def test_each_code_block_is_run(generated: Generate) -> None:
    there = {
        place
        for root in (TEMPLATE, *(generated(**group) for group in GROUPS))
        for place in code_blocks(root)
    }
    claims = {place for file in TEMPLATE.glob("tests/**/*.py") for place in run_by(file)}
    claims |= {place for place in there if (*place[:2], None, place[3]) in claims}
    assert there <= claims, f"no test runs {sorted(there - claims)}"
    print(f"{len(there)} kinds of blocks, by document, section and language, are run")


def test_each_command_in_a_text_is_run(generated: Generate) -> None:
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


def test_ci_runs_the_documented_commands() -> None:
    """`make test-all` includes `make test`; another test runs `make help`."""
    (proven,) = blocks(TEMPLATE, "README.md", "How it is proven")
    (both,) = blocks(TEMPLATE, "CONTRIBUTING.md", "")
    (summary,) = blocks(TEMPLATE, "AGENTS.md", "Commands")
    script = (TEMPLATE / ".ci" / "run").read_text()
    commands = {*re.findall(r"^timed (.*)$", script, re.MULTILINE)}
    assert commands == {"make lint", "make test-all"}
    assert re.search("^test-all: test ", (TEMPLATE / "Makefile").read_text(), re.MULTILINE)
    documented = {*proven.splitlines(), *both.splitlines(), *summary.splitlines()}
    assert documented <= {*commands, "make test", "make help"}


def test_documented_pytest_commands_collect() -> None:
    """These commands run the template's tests, so the test only collects them."""
    texts = "".join(document.read_text() for document in documents(TEMPLATE))
    commands = re.findall(r"`\.venv/bin/(pytest [^`]+)`", texts)
    assert commands
    for command in commands:
        run(*shlex.split(command), "--collect-only", cwd=TEMPLATE)


def test_listed_paths_exist(generated: Generate) -> None:
    """Each path at the beginning of a line of a listing exists."""
    project = generated()
    listings = [
        (TEMPLATE, text) for text in blocks(TEMPLATE, "CONTRIBUTING.md", "Where things are", "")
    ]
    listings += [(project, text) for text in blocks(project, "README.md", "Where things are", "")]
    for root, listing in listings:
        path = r"[^\s:,]*[./][^\s:,]*"
        listed = re.findall(rf"^( *)((?:{path} {{1,2}})*{path})(?:  |$)", listing, re.MULTILINE)
        assert len(listed) > 5
        place = root
        for indent, names in listed:
            for name in names.split():
                assert ((place if indent else root) / name).exists(), name
            place = place if indent else root / names.split()[0]

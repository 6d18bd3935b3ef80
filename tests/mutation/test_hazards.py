"""docs/hazards.md and the generated suite agree, and each fix is one that the suite would miss."""

import ast
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .conftest import Generate
from .template import CHOICES, TEMPLATE

TABLE = (TEMPLATE / "docs" / "hazards.md").read_text().partition("\n## ")[0]
ROWS = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \| (\w+) \|$", TABLE, re.MULTILINE)
PROOFS = dict(ROWS)
UNDO = tomllib.loads((TEMPLATE / "tests" / "undone.toml").read_text())["undo"]


def cases(project: Path, *files: str) -> Iterator[tuple[str, str]]:
    """Yield file and name of each case of the generated suite."""
    for path in (project / "tests").glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (not files or path.stem in files):
                yield path.name, node.name


def test_every_hazard_has_its_case(generated: Generate) -> None:
    assert len(ROWS) == TABLE.count("\n| ") - 1
    assert set(PROOFS.values()) <= {name for _, name in cases(generated())}


def test_every_case_of_the_web_layers_is_told_of(generated: Generate) -> None:
    """Each case on routes of the tests' own stands in the table, or closes no hazard."""
    files = (
        "answers",
        "concurrency",
        "forms",
        "forwarded",
        "logs",
        "records",
        "requests",
        "routing",
    )
    found = {name for _, name in cases(generated(), *(f"test_{file}" for file in files))}
    found = {name for name in found if name.startswith("test_")}
    no_hazard = {
        "test_a_browser_is_told_what_is_wrong",
        "test_a_problem_may_have_headers_and_no_default_twice",
        "test_a_trailing_slash_and_a_query_that_no_header_can_hold",
        "test_a_trailing_slash_before_a_route_for_all_the_rest",
        "test_a_trailing_slash_where_the_route_asks",
        "test_a_wrong_body_that_is_not_utf8",
        "test_an_exception_without_a_text_is_answered_and_logged",
        "test_an_exchange_ends_whatever_happens",
        "test_an_exchange_without_an_answer_is_recorded_as_a_failure",
        "test_a_problem_of_ours_is_logged_with_its_cause",
        "test_a_text_of_a_form_may_be_as_large_as_the_limit",
        "test_cors",
        "test_only_what_is_wrong_is_named",
        "test_queries",
        "test_routes_that_only_seem_hidden",
        "test_the_release_is_named",
        "test_the_trace_of_a_caller_is_named",
        "test_two_applications_share_nothing",
        "test_unclean_paths",
        "test_what_a_caller_adds_is_in_the_line",
        "test_what_stands_there_twice_is_named",
        "test_who_gets_a_page",
    }
    assert found - set(PROOFS.values()) == no_hazard


def test_every_fix_that_is_undone_is_missed(generated: Generate, tmp_path: Path) -> None:
    """Undo one fix at a time: the case that proves it has to fail."""
    assert {undo["hazard"] for undo in UNDO} == set(PROOFS)
    servers = {server: generated(wsgi_server=server) for server in CHOICES["wsgi_server"]}
    sources = [servers[undo.get("server", "gunicorn")] for undo in UNDO]
    copies = [tmp_path / str(number) for number in range(len(UNDO))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(missed, UNDO, sources, copies))
    for undo, outcome in zip(UNDO, outcomes, strict=True):
        print(f"{'missed' if outcome else 'NOT MISSED'}: {undo['hazard']}: {undo['fix'].strip()}")
    print(f"{sum(outcomes)} of {len(UNDO)} missed")
    assert all(outcomes)


def missed(undo: dict[str, str], source: Path, project: Path) -> bool:
    """Whether the case fails in a copy of the project without the fix."""
    shutil.copytree(source, project)
    name = undo.get("proven_by", PROOFS[undo["hazard"]])
    (case,) = {f"tests/{file}::{found}" for file, found in cases(project) if found == name}
    path = project / "src" / "my_service" / undo["file"]
    if undo["file"].startswith("./"):
        path = project / undo["file"]
    text = path.read_text()
    assert text.count(undo["fix"]) == 1, undo
    path.write_text(text.replace(undo["fix"], undo["undone"]))
    done = subprocess.run(
        ["pytest", "-x", "-m", "", "-p", "no:cacheprovider", case],
        cwd=project, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    shutil.rmtree(project)
    return done.returncode == 1

"""Hazards: docs/hazards.md matches the generated suite, which kills each reverted fix."""

import ast
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..support.fixtures import Generate
from ..support.generate import CHOICES, TEMPLATE

TABLE = (TEMPLATE / "docs" / "hazards.md").read_text().partition("\n## ")[0]
ROWS = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \| (\w+) \|$", TABLE, re.MULTILINE)
PROOFS = dict(ROWS)
FIXES = tomllib.loads(Path(__file__).with_name("reverted_fixes.toml").read_text())["fix"]


def cases(project: Path, *files: str) -> Iterator[tuple[str, str]]:
    """Yield the file and name of each test of the generated suite."""
    for path in (project / "tests").glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (not files or path.stem in files):
                yield path.name, node.name


def test_each_hazard_has_its_test(generated: Generate) -> None:
    assert len(ROWS) == TABLE.count("\n| ") - 1
    assert set(PROOFS.values()) <= {name for _, name in cases(generated())}


def test_each_test_of_the_http_modules_proves_a_hazard(generated: Generate) -> None:
    """Each test of these files proves a hazard of the table, or is listed here."""
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


def test_each_reverted_fix_is_killed(generated: Generate, tmp_path: Path) -> None:
    """Revert one fix at a time: the test that proves it has to fail."""
    assert {fix["hazard"] for fix in FIXES} == set(PROOFS)
    servers = {server: generated(wsgi_server=server) for server in CHOICES["wsgi_server"]}
    sources = [servers[fix.get("server", "gunicorn")] for fix in FIXES]
    copies = [tmp_path / str(number) for number in range(len(FIXES))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(killed, FIXES, sources, copies))
    for fix, outcome in zip(FIXES, outcomes, strict=True):
        print(f"{'killed' if outcome else 'SURVIVED'}: {fix['hazard']}: {fix['fix'].strip()}")
    print(f"{sum(outcomes)} of {len(FIXES)} killed")
    assert all(outcomes)


def killed(fix: dict[str, str], source: Path, project: Path) -> bool:
    """Whether the test fails in a copy of the project without the fix."""
    shutil.copytree(source, project)
    name = fix.get("proven_by", PROOFS[fix["hazard"]])
    (case,) = {f"tests/{file}::{found}" for file, found in cases(project) if found == name}
    path = project / "src" / "my_service" / fix["file"]
    if fix["file"].startswith("./"):
        path = project / fix["file"]
    text = path.read_text()
    assert text.count(fix["fix"]) == 1, fix
    path.write_text(text.replace(fix["fix"], fix["reverted"]))
    done = subprocess.run(
        ["pytest", "-x", "-m", "", "-p", "no:cacheprovider", case],
        cwd=project, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    shutil.rmtree(project)
    return done.returncode == 1

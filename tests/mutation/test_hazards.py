"""Hazards: docs/hazards.md matches the tests, which kill each reverted fix."""

import ast
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from ..support.fixtures import Generate
from ..support.generate import PROJECT, TEMPLATE
from ..support.git import copy_working_tree

TABLE = (TEMPLATE / "docs" / "hazards.md").read_text().partition("\n## ")[0]
ROWS = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \| (\w+) \|$", TABLE, re.MULTILINE)
PROOFS = dict(ROWS)
FIXES = tomllib.loads(Path(__file__).with_name("reverted_fixes.toml").read_text())["fix"]


PACKAGE_TESTS = "tests/package"


def cases(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and name of each test below a directory."""
    for path in directory.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield path.relative_to(directory).as_posix(), node.name


def test_each_hazard_has_its_test(generated: Generate) -> None:
    assert len(ROWS) == TABLE.count("\n| ") - 1
    found = [*cases(TEMPLATE / PACKAGE_TESTS), *cases(generated() / "tests")]
    assert set(PROOFS.values()) <= {name for _, name in found}


def test_each_hazard_has_its_reverted_fix() -> None:
    assert {fix["hazard"] for fix in FIXES} == set(PROOFS)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, generated: Generate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[bool]]]:
    """Start the selected tests together, so that no core is idle: whether each fix was killed."""
    template = copy_working_tree(tmp_path_factory.mktemp("template") / "template")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {}
        for item in request.session.items:
            if isinstance(item, pytest.Function) and item.function is test_reverted_fix_is_killed:
                fix = cast(dict[str, str], item.callspec.params["fix"])
                project = generated(wsgi_server=fix.get("server", "gunicorn"))
                copy = tmp_path_factory.mktemp("reverted") / "copy"
                futures[item.nodeid] = pool.submit(killed, fix, template, project, copy)
        yield futures
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("fix", FIXES, ids=lambda fix: fix["hazard"])
def test_reverted_fix_is_killed(
    outcomes: dict[str, Future[bool]], request: pytest.FixtureRequest, fix: dict[str, str]
) -> None:
    """The test that proves the fix fails without it."""
    assert outcomes[request.node.nodeid].result(), f"SURVIVED: {fix['fix'].strip()}"


def killed(fix: dict[str, str], template: Path, project: Path, copy: Path) -> bool:
    """Whether the test fails in a copy of the template, or of the project, without the fix."""
    name = fix.get("proven_by") or PROOFS[fix["hazard"]]
    tests = [
        f"{PACKAGE_TESTS}/{file}"
        for file, found in cases(template / PACKAGE_TESTS)
        if found == name
    ]
    if tests:
        shutil.copytree(template, copy)
        changed = copy / PROJECT.name
    else:
        tests = [f"tests/{file}" for file, found in cases(project / "tests") if found == name]
        changed = Path(shutil.copytree(project, copy))
    assert len(tests) == 1, f"one test must be named {name}: {tests}"
    (test,) = tests
    own = fix["file"].startswith("./")
    path = changed / fix["file"] if own else changed / "src/bottle_service" / fix["file"]
    text = path.read_text()
    assert text.count(fix["fix"]) == 1, fix
    path.write_text(text.replace(fix["fix"], fix["reverted"]))
    done = subprocess.run(
        ["pytest", "-x", "-p", "no:cacheprovider", f"{test}::{name}"],
        cwd=copy, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    shutil.rmtree(copy)
    return done.returncode == 1

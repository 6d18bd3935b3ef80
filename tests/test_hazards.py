"""docs/hazards.md and the generated suite agree."""

import ast
import re

from .conftest import Generate
from .template import TEMPLATE


def test_every_hazard_has_its_case(generated: Generate) -> None:
    text = (TEMPLATE / "docs" / "hazards.md").read_text()
    table, _, _ = text.partition("## What a server")
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| [^|]+ \| (\w+) \|$", table, re.MULTILINE)
    assert len(rows) == table.count("\n| ") - 1
    cases = {
        node.name
        for path in (generated() / "tests").glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert set(rows) <= cases


def test_every_case_of_the_web_layers_is_told_of(generated: Generate) -> None:
    """Each case on the misbehaving application stands in the table, or closes no hazard."""
    text = (TEMPLATE / "docs" / "hazards.md").read_text()
    cases: set[str] = set()
    for name in ("answers", "concurrency", "requests", "routing"):
        source = (generated() / "tests" / f"test_{name}.py").read_text()
        cases.update(re.findall(r"^def (test_\w+)", source, re.MULTILINE))
    no_hazard = {
        "test_a_problem_may_have_headers_and_no_default_twice",
        "test_a_trailing_slash_where_the_route_asks",
        "test_a_wrong_body_that_is_not_utf8",
        "test_an_exchange_ends_whatever_happens",
        "test_cors",
        "test_forms",
        "test_other_origins_are_told_nothing",
        "test_two_applications_share_nothing",
        "test_unclean_paths",
        "test_who_gets_a_page",
    }
    assert {case for case in cases if case not in text} == no_hazard

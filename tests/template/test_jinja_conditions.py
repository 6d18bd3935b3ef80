"""Jinja conditions: no dead branch; each is true for some answers and false for others."""

import itertools
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import pytest
from cookiecutter.utils import create_env_with_context
from jinja2 import Environment, nodes
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from ..support.generate import CHOICES, CONTEXT, PROJECT, TEMPLATE, Answers, generate
from ..support.matrix import GROUPS, INERT, LONGEST

# Source text, number and line of a condition, and its value.
Outcome = tuple[str, int, int, bool]

# Each combination that differs in code, each other answer once, and unusual names.
ANSWERS: list[Answers] = [
    *GROUPS,
    *({name: value} for name in INERT for value in CHOICES[name]),
    LONGEST,
    {"project_name": "24 hours"},
]


class Probes(NodeTransformer):
    """Adds a recording filter to each decision: tests of blocks and expressions, comparisons, loops."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._count = itertools.count()

    def _probe(self, node: Any, *, both: bool = True) -> nodes.Expr:
        """Wrap the node in a filter with its location, and whether both values are required."""
        if isinstance(node, nodes.Filter) and node.name == "probe":
            return node
        place = (self._source, next(self._count), node.lineno, both)
        arguments: list[nodes.Expr] = [nodes.Const(value) for value in place]
        probe = nodes.Filter(node, "probe", arguments, [], None, None, lineno=node.lineno)
        probe.set_environment(node.environment)
        return probe

    def _visit_test(self, node: Any) -> Any:
        self.generic_visit(node)
        if node.test is not None:
            node.test = self._probe(node.test)
        return node

    visit_If = visit_CondExpr = _visit_test

    def visit_For(self, node: nodes.For) -> nodes.For:
        self._visit_test(node)
        node.iter = self._probe(node.iter, both=bool(node.else_))
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:
        return self._probe(self.generic_visit(node))


def parse(
    environment: Environment, source: str, name: str | None, filename: str | None
) -> nodes.Template:
    """Parse as Environment._parse does, and add the probes."""
    parsed = Parser(environment, source, name, filename).parse()
    template: nodes.Template = Probes(source).visit(parsed)
    return template


def outcomes(template: nodes.Template) -> Iterator[Outcome]:
    """Yield the outcomes that some answers must produce."""
    for probe in template.find_all(nodes.Filter):
        if probe.name == "probe":
            source, number, line, both = (argument.as_const() for argument in probe.args)
            yield source, number, line, True
            if both:
                yield source, number, line, False


def sources() -> Iterator[tuple[str, str]]:
    """Yield the name and text of everything that Cookiecutter renders."""
    plain = CONTEXT["_copy_without_render"]
    paths = (PROJECT.rglob("*"), TEMPLATE.glob("hooks/*.py"), TEMPLATE.glob("templates/**/*"))
    for path in itertools.chain(*paths):
        name = path.relative_to(TEMPLATE).as_posix()
        inside = str(path).removeprefix(f"{PROJECT}/")
        if path.is_file() and not any(fnmatch(inside, pattern) for pattern in plain):
            yield name, path.read_text()
        yield name, path.name
    values = [text for name, text in CONTEXT.items() if not re.match("_(?!_)|__prompts", name)]
    while values:
        match values.pop():
            case str(text):
                yield "cookiecutter.json", text
            case dict(pairs):
                values += [*pairs.keys(), *pairs.values()]
            case list(items):
                values += items


def test_each_condition_is_true_for_some_answers_and_false_for_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    taken: set[Outcome] = set()

    def probe(value: Any, source: str, number: int, line: int, _: bool) -> Any:
        taken.add((source, number, line, bool(value)))
        return value

    monkeypatch.setitem(FILTERS, "probe", probe)
    monkeypatch.setattr(Environment, "_parse", parse)
    for answers in ANSWERS:
        generate(tmp_path_factory.mktemp("branches"), answers)
    environment = create_env_with_context({"cookiecutter": CONTEXT})
    names = {text: name for name, text in sources()}
    there = {outcome for text in names for outcome in outcomes(environment.parse(text))}
    never = [
        f"{names[text]}, line {line}: never {outcome}"
        for text, _, line, outcome in sorted(there - taken)
    ]
    assert not never, "\n".join(never)
    print(f"{len(there)} outcomes of conditions, over {len(ANSWERS)} sets of answers")

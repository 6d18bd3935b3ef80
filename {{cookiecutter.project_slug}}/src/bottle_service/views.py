"""HTML pages from the SimpleTemplate files of a directory."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

from bottle import HTTPResponse, SimpleTemplate

__all__ = ["PAGE_HEADERS", "Views"]

# Pages load the service's own files only, and no other page may frame them.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": PAGE_POLICY}


class Views:
    """The templates of one directory; `common` are variables that every template has.

    Bottle's `template()` takes any string with a `{` for the source of a template, and looks for
    files in the working directory. Here a view is a file of the directory, which is read once.
    """

    def __init__(self, directory: Path, **common: Any) -> None:
        self._directory = directory
        self._common = common
        self._template = cache(self._load)

    def _load(self, name: str) -> SimpleTemplate:
        source = (self._directory / f"{name}.tpl").read_text(encoding="utf-8")
        return SimpleTemplate(source=source, lookup=[str(self._directory)])

    def check(self) -> list[tuple[Path, Exception]]:
        """Return the views that cannot be rendered, each with the reason."""
        problems = []
        for path in sorted(self._directory.glob("*.tpl")):
            try:
                template = self._template(path.stem)
                _ = template.co  # compiles the template
                for node in ast.walk(ast.parse(template.code)):
                    self._check_reference(node)
            except Exception as error:
                problems.append((path, error))
        return problems

    def _check_reference(self, node: ast.AST) -> None:
        match node:
            case ast.Call(ast.Name("include" | "rebase"), [ast.Constant(str(name)), *_]):
                if SimpleTemplate.search(name, [str(self._directory)]) is None:
                    raise LookupError(f"there is no view {name!r}")
            case ast.Call(ast.Name("asset"), [ast.Constant(str(name))]):
                self._common["asset"](name)

    def page(self, name: str, **variables: Any) -> HTTPResponse:
        """Return the view as a response. Raises OSError if the view does not exist."""
        text = self._template(name).render(**self._common, **variables)
        return HTTPResponse(text.encode(), headers=PAGE_HEADERS)

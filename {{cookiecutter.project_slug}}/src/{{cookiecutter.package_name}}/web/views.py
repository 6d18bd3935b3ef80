"""HTML pages from the SimpleTemplate files of views/."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

from bottle import HTTPResponse, SimpleTemplate

# Pages load what lies beside them and nothing else; nobody may frame them.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": PAGE_POLICY}


class Views:
    """The templates of one directory. `common` is what every page knows.

    Bottle's own `template()` takes any string with a `{` for a template's source, and looks for
    files in the working directory; here a view is a file of the directory, read once.
    """

    def __init__(self, directory: Path, **common: Any) -> None:
        self._directory = directory
        self._common = common
        self._template = cache(self._load)

    def _load(self, name: str) -> SimpleTemplate:
        source = (self._directory / f"{name}.tpl").read_text(encoding="utf-8")
        return SimpleTemplate(source=source, lookup=[str(self._directory)])

    def broken(self) -> list[tuple[Path, Exception]]:
        """Return the views that cannot be shown, with the reason; what they name is looked up."""
        found = []
        for path in sorted(self._directory.glob("*.tpl")):
            try:
                template = self._template(path.stem)
                _ = template.co  # compiled here, not at the first request
                for node in ast.walk(ast.parse(template.code)):
                    self._look_up(node)
            except Exception as error:
                found.append((path, error))
        return found

    def _look_up(self, node: ast.AST) -> None:
        match node:
            case ast.Call(ast.Name("include" | "rebase"), [ast.Constant(str(name)), *_]):
                if SimpleTemplate.search(name, [str(self._directory)]) is None:
                    raise LookupError(f"there is no view {name!r}")
            case ast.Call(ast.Name("asset"), [ast.Constant(str(name))]):
                self._common["asset"](name)

    def page(self, name: str, **values: Any) -> HTTPResponse:
        """Return the view as an answer. Raises OSError when there is no such view."""
        text = self._template(name).render(**self._common, **values)
        return HTTPResponse(text.encode(), headers=PAGE_HEADERS)

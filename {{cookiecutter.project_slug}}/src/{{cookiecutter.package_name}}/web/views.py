"""HTML pages from the SimpleTemplate files of views/."""

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
        """Return the views that are no templates, each with the reason."""
        found = []
        for path in sorted(self._directory.glob("*.tpl")):
            try:
                _ = self._template(path.stem).co  # compiled here, not at the first request
            except Exception as error:
                found.append((path, error))
        return found

    def page(self, name: str, **values: Any) -> HTTPResponse:
        """Return the view as an answer. Raises OSError when there is no such view."""
        text = self._template(name).render(**self._common, **values)
        return HTTPResponse(text.encode(), headers=PAGE_HEADERS)

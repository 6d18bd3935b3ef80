"""HTML pages from the SimpleTemplate files of a directory."""

import ast
import re
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from bottle import HTTPResponse, SimpleTemplate

__all__ = ["PAGE_HEADERS", "PAGE_POLICY", "Views", "headers_with_style"]

# Pages load the service's own files only, and no other page may frame them.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; "
    "media-src 'self'; manifest-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": PAGE_POLICY}


def headers_with_style(style: str) -> dict[str, str]:
    """Return the headers of a page that contains this style sheet in an element."""
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = PAGE_POLICY.replace("style-src ", f"style-src 'sha256-{digest}' ")
    return PAGE_HEADERS | {"Content-Security-Policy": policy}


class Views:
    """The templates of a directory and its subdirectories.

    Each page is sent with `policy` as its Content-Security-Policy. `common` are variables that
    every template has.

    Bottle's `template()` takes any string with a `{` for the source of a template, and looks for
    files in the working directory. Here a view is a file of the directory, which is read once.
    """

    def __init__(self, directory: Path, *, policy: str = PAGE_POLICY, **common: Any) -> None:
        self._directory = directory
        self._headers = PAGE_HEADERS | {"Content-Security-Policy": policy}
        self._common = common
        self._template = cache(self._load)

    def _load(self, name: str) -> SimpleTemplate:
        source = (self._directory / f"{name}.tpl").read_text(encoding="utf-8")
        return SimpleTemplate(source=source, lookup=[str(self._directory)])

    def check(self) -> list[tuple[Path, Exception]]:
        """Return the views that cannot be rendered, each with the reason."""
        problems = []
        for path in self._paths():
            try:
                name = path.relative_to(self._directory).with_suffix("").as_posix()
                template = self._template(name)
                _ = template.co  # compiles the template
                for node in ast.walk(ast.parse(template.code)):
                    self._check_reference(node)
            except Exception as error:
                problems.append((path, error))
        return problems

    def blocked(self) -> Iterator[tuple[Path, str]]:
        """Yield what PAGE_POLICY blocks in the views, and what to do; nothing for another policy."""
        if self._headers == PAGE_HEADERS:
            for path in self._paths():
                for line, reason in _find_blocked(path.read_text(encoding="utf-8")):
                    yield path, f"line {line}: {reason}"

    def _paths(self) -> list[Path]:
        return sorted(self._directory.rglob("*.tpl"))

    def _check_reference(self, node: ast.AST) -> None:
        match node:
            case ast.Call(ast.Name("include" | "rebase"), [ast.Constant(str(name)), *_]):
                if SimpleTemplate.search(name, [str(self._directory)]) is None:
                    raise LookupError(f"there is no view {name!r}")
            case ast.Call(ast.Name("asset"), [ast.Constant(str(name))]):
                self._common["asset"](name)

    def page(self, name: str, /, **variables: Any) -> HTTPResponse:
        """Return the view as a response. Raises OSError if the view does not exist."""
        text = self._template(name).render(**self._common, **variables)
        return HTTPResponse(text.encode(), headers=self._headers)


def _find_blocked(source: str) -> list[tuple[int, str]]:
    """Return line and reason of each part of a template that PAGE_POLICY blocks."""
    finder = _BlockedFinder()
    # Python may contain any text; without it, the lines keep their numbers.
    python = r"(?m)^[ \t]*%.*$|(?s:<[%].*?%[>])|\{\{.*?\}\}"
    finder.feed(re.sub(python, lambda found: "\n" * found[0].count("\n"), source))
    finder.close()
    return finder.found


# The attributes by which an element loads files, or sends a form.
_LOADED_BY = {
    "audio": ["src"], "button": ["formaction"], "form": ["action"], "image": ["href", "xlink:href"],
    "img": ["src", "srcset"], "input": ["src", "formaction"], "link": ["href"], "script": ["src"],
    "source": ["src", "srcset"], "track": ["src"], "use": ["href", "xlink:href"],
    "video": ["src", "poster"],
}  # fmt: skip
_SENDS = {"action", "formaction"}
# Elements that PAGE_POLICY does not allow at all.
_NEVER = {"base", "embed", "frame", "iframe", "object"}
_FOREIGN = re.compile("[a-z][a-z0-9+.-]*:|//")
_OTHER_POLICY = "or pass a page_policy to build_application"


class _BlockedFinder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: (value or "").strip() for name, value in attrs}
        if tag == "script" and "src" not in values:
            self._report("<script> with code; write a file in static/ and load it by src")
        if tag == "style":
            self._report("<style>; write a file in static/ and load it by <link>")
        for name, value in values.items():
            if name.startswith("on"):
                self._report(f"{name}=; call addEventListener in a script of static/")
            elif name == "style":
                self._report("style=; add a class, and a rule to a style sheet of static/")
            elif value.lower().startswith("javascript:"):
                self._report(f"{name}=javascript:; call addEventListener in a script of static/")
        if tag in _NEVER:
            self._report(f"<{tag}>; do without, {_OTHER_POLICY}")
        # Other links, such as rel=canonical, load nothing.
        loads = "stylesheet|icon|preload|manifest"
        if tag != "link" or re.search(loads, values.get("rel", "")):
            for name in _LOADED_BY.get(tag, ()):
                self._check_urls(name, values.get(name, ""))

    handle_startendtag = handle_starttag

    def _check_urls(self, name: str, text: str) -> None:
        for url in re.split(r",\s*", text) if name == "srcset" else [text]:
            if _FOREIGN.match(url.lower()):
                remedy = (
                    "send the form to a handler" if name in _SENDS else "copy the file to static/"
                )
                self._report(f"{url.split()[0][:40]!r}; {remedy}, {_OTHER_POLICY}")

    def _report(self, blocked: str) -> None:
        self.found.append((self.getpos()[0], f"the Content-Security-Policy blocks {blocked}"))

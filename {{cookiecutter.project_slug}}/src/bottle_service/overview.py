"""The page that development shows at `/`: routes, health, settings and next steps."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints
from urllib.parse import quote

from bottle import HTTPResponse, Route, SimpleTemplate, request

from .http.conditional import IfMatch
from .http.routing import access_of, handler_name, is_redirect
from .http.wildcards import parts_of
from .openapi.examples import NO_EXAMPLE, example_of
from .settings import ServiceSettings
from .views import headers_with_style

__all__ = ["Overview"]

DIRECTORY = Path(__file__).with_name("overview_page")


class Call(NamedTuple):
    """A route, and the command that calls it; the command is empty for a form or an unknown body."""

    method: str
    rule: str
    access: str
    handler: str
    command: str


class Overview:
    """The page of the service `name`, which needs the settings of APP_ENV=development.

    `environ` is where the settings were read, and `checks` are those of readiness.
    """

    def __init__(
        self,
        variables: Mapping[str, str],
        settings: ServiceSettings,
        environ: Mapping[str, str],
        checks: Mapping[str, Callable[[], None]],
    ) -> None:
        self._variables = variables
        self._settings = settings
        self._environ = environ
        self._checks = checks
        self._style = (DIRECTORY / "overview.css").read_text(encoding="utf-8")
        source = (DIRECTORY / "overview.tpl").read_text(encoding="utf-8")
        self._template = SimpleTemplate(source=source)
        # The style is a part of the page, so that the service's static files do not need it.
        self._headers = headers_with_style(self._style)

    def page(self) -> HTTPResponse:
        """Return the page for the present request."""
        text = self._template.render(
            **self._variables,
            style=self._style,
            calls=[self._call(route) for route in request.app.routes if not is_redirect(route)],
            health={name: _failure(check) for name, check in self._checks.items()},
            settings=self._settings.describe(self._environ),
            pages=list(_pages(Path("docs/how-to"))),
        )
        return HTTPResponse(text.encode(), headers=self._headers)

    def _call(self, route: Route) -> Call:
        access = access_of(route)
        command = self._command(route, access)
        shown = route.config.get("role") or access
        return Call(route.method, route.rule, shown, handler_name(route), command)

    def _command(self, route: Route, access: str) -> str:
        """Return the curl command that calls the route, with a sample body."""
        is_raw = route.config.get("raw")
        types = {} if is_raw else get_type_hints(route.callback, include_extras=True)
        words = ["curl"]
        if route.method != "GET":
            words += ["-X", route.method]
        if access != "public":
            words.append(
                f'-H "Authorization: Bearer ${"ADMIN_TOKEN" if access == "admin" else "TOKEN"}"'
            )
        if IfMatch in types.values():
            words.append("-H 'If-Match: *'")
        if route.config.get("idempotent") == "required":
            words.append('-H "Idempotency-Key: $(date +%s)"')
        if "form" in types:
            return ""
        if types.get("body") is bytes:
            kind = route.config.get("consumes", "application/octet-stream")
            words += [f"-H 'Content-Type: {kind}'", "--data-binary @FILE"]
        elif "body" in types:
            sample = example_of(types["body"], complete=False)
            if sample is NO_EXAMPLE:
                return ""
            words += ["-H 'Content-Type: application/json'", "-d", shlex.quote(json.dumps(sample))]
        scheme = request.environ["wsgi.url_scheme"]
        words.append(shlex.quote(f"{scheme}://{self._settings.bind}{_path(route, types)}"))
        return " ".join(words)


def _path(route: Route, types: Mapping[str, Any]) -> str:
    """Return the path of the route, with an example for each wildcard."""
    return "".join(
        part if isinstance(part, str) else _example_of(types.get(part.name, str))
        for part in parts_of(route)
    )


def _example_of(kind: Any) -> str:
    example = "1" if kind is str else example_of(kind)
    if example is NO_EXAMPLE:
        return "1"
    return quote(example if isinstance(example, str) else json.dumps(example))


def _failure(check: Callable[[], None]) -> str:
    """Return the failure of a check, or an empty text."""
    try:
        check()
    except Exception as error:  # shown on the page
        return f"{type(error).__name__}: {error}"
    return ""


def _pages(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and the title of each how-to page."""
    for path in sorted(directory.glob("*.md")):
        first, *_ = path.read_text(encoding="utf-8").splitlines()
        yield path.as_posix(), first.removeprefix("# ")

"""The page that development shows at `/`: routes, health, settings and next steps."""

import json
import shlex
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from bottle import HTTPResponse, Route, SimpleTemplate, request
from msgspec import inspect

from .http.conditional import IfMatch
from .http.routing import access_of, handler_name
from .http.validation import bare
from .settings import ServiceSettings
from .views import PAGE_HEADERS

__all__ = ["Overview"]

DIRECTORY = Path(__file__).with_name("overview_page")
# Values of a sample body, by the type of the field.
SAMPLES: dict[type, object] = {
    inspect.StrType: "text",
    inspect.IntType: 1,
    inspect.FloatType: 1.5,
    inspect.BoolType: True,
    inspect.DateType: "2026-12-31",
    inspect.DateTimeType: "2026-12-31T12:00:00Z",
}


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
        digest = b64encode(sha256(self._style.encode()).digest()).decode()
        policy = PAGE_HEADERS["Content-Security-Policy"]
        policy = policy.replace("style-src ", f"style-src 'sha256-{digest}' ")
        self._headers = PAGE_HEADERS | {"Content-Security-Policy": policy}

    def page(self) -> HTTPResponse:
        """Return the page for the present request."""
        text = self._template.render(
            **self._variables,
            style=self._style,
            calls=[self._call(route) for route in request.app.routes],
            health={name: _failure(check) for name, check in self._checks.items()},
            settings=self._settings.describe(self._environ),
            pages=list(_pages(Path("docs/how-to"))),
        )
        return HTTPResponse(text.encode(), headers=self._headers)

    def _call(self, route: Route) -> Call:
        access = access_of(route)
        command = self._command(route, access)
        return Call(route.method, route.rule, access, handler_name(route), command)

    def _command(self, route: Route, access: str) -> str:
        """Return the curl command that calls the route, with a sample body."""
        types = {} if route.config.get("raw") else get_type_hints(route.callback)
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
        if "body" in types:
            sample = _sample(inspect.type_info(types["body"]))
            words += ["-H 'Content-Type: application/json'", "-d", shlex.quote(json.dumps(sample))]
        scheme = request.environ["wsgi.url_scheme"]
        words.append(shlex.quote(f"{scheme}://{self._settings.bind}{_path(route)}"))
        return " ".join(words)


def _path(route: Route) -> str:
    """Return the path of the route, with 1 for each wildcard."""
    parts = route.app.router.builder[route.rule]
    return "".join("1" if name else text for name, text in parts)


def _sample(kind: Any) -> Any:
    """Return a value with the required fields of the type."""
    kind = bare(kind)
    if isinstance(kind, inspect.StructType):
        return {field.encode_name: _sample(field.type) for field in kind.fields if field.required}
    if isinstance(kind, inspect.CollectionType):
        return [_sample(kind.item_type)]
    if isinstance(kind, inspect.LiteralType):
        return kind.values[0]
    return SAMPLES.get(type(kind))


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

"""The OpenAPI document of an application: one operation for each route and method.

https://spec.openapis.org/oas/v3.1.0
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from bottle import HTTPResponse, Route
from msgspec import Meta, Struct

from ..http.auth import SAFE_METHODS, BearerAuthPlugin
from ..http.descriptions import describe_options
from ..http.forms import FieldReader, Form
from ..http.handlers import RequestScoped
from ..http.parsers import Upload
from ..http.problems import ProblemDetails, title
from ..http.routing import NO_BODY, ServiceBottle, handler_name, is_redirect
from ..http.validation import LARGEST_INTEGER, SMALLEST_INTEGER, reachable
from ..http.wildcards import Wildcard, parts_of, wildcard_parser
from ..startup import StartupProblem
from .examples import NO_EXAMPLE, example_of
from .schemas import REFERENCE, Schema, Schemas

__all__ = ["Document", "Operation"]

# Methods of a path item. A mounted WSGI application (PROXY) is not described.
METHODS = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE")
ANY_METHOD = ("GET", "PUT", "POST", "DELETE", "PATCH")
NAME = r"[A-Za-z0-9]+"
SECURITY_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "The token of a client."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "session",
        "description": "The session of a person, as the login sets it.",
    },
    "admin": {"type": "http", "scheme": "bearer", "description": "ADMIN_TOKEN."},
}
# The responses that the service itself sends.
FAILURES = {
    400: "The request is malformed.",
    401: "The request has no valid credentials.",
    403: "The client may not do this, or another site sends the request of a session.",
    404: "There is nothing at this address.",
    413: "The body is too large.",
    415: "The body has another content type, or a Content-Encoding.",
    422: "Values are invalid; the errors are listed.",
    500: "The service failed.",
    503: "The service is overloaded; try again later.",
}
FAILURE_HEADERS = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    503: {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}},
}
# Bottle's and the service's filters of wildcards; others match texts.
WILDCARDS: dict[str, Schema] = {
    "id": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 10**18 - 1},
    "int": {
        "type": "integer",
        "format": "int64",
        "minimum": SMALLEST_INTEGER,
        "maximum": LARGEST_INTEGER,
    },
    "float": {"type": "number"},
}
# The pattern of a wildcard without a filter.
ANY_SEGMENT = "[^/]+"
# SanitizeRequestMiddleware rejects control characters.
CONTROLS = r"\x00-\x1f\x7f-\x9f"
# Syntax of Python's patterns that ECMA 262 lacks or reads otherwise.
OWN_SYNTAX = re.compile(r"\(\?(?![:=!])|\\[AZ]|[*+?}]\+")


class RouteOptions(Struct):
    """The options of a route that are for the document."""

    summary: str = ""
    tags: list[str] = []
    deprecated: bool = False
    responses: dict[Annotated[int, Meta(ge=100, le=599)], Annotated[str, Meta(min_length=1)]] = {}


@dataclass(kw_only=True)
class Operation:
    """One method of one path.

    `body` is the type of a JSON body or form, or `bytes` for any body, and `result` that of the
    response; both are None if there is none. `any_result` says that the handler may return an HTTPResponse.
    """

    route: Route
    method: str
    path: str
    id: str
    tag: str
    options: RouteOptions
    summary: str
    description: str
    schemes: list[str]
    types: Mapping[str, Any]
    body: Any = None
    is_form: bool = False
    result: Any = None
    any_result: bool = False
    parameters: list[Schema] = field(default_factory=list)
    # The numbers of the types in Schemas.
    query_schema: int | None = None
    body_schema: int | None = None
    result_schema: int | None = None
    content: Schema = field(default_factory=dict)

    @property
    def roles(self) -> list[str]:
        """The role that a client needs, if any."""
        return [self.route.config["role"]] if "role" in self.route.config else []

    @property
    def status(self) -> int:
        """The status of a success."""
        return int(self.route.config.get("status", 200))


class Document:
    """The document of an application whose routes are complete.

    Options of a route describe it further: `summary`, `tags`, `deprecated`, and `responses`, which
    has the description of each further status. The types of handlers' parameters and results may
    have an attribute `openapi`, a dict with any of these members of the operation: `parameters`
    (Parameter Objects), `responses` (descriptions by status), and `headers` of the response to a
    success (Header Objects by name).

    `problems` are parts that the document cannot express; then `content` is empty.
    """

    def __init__(self, app: ServiceBottle, info: Mapping[str, str], url: str = "/") -> None:
        self._app = app
        (self._auth,) = (one for one in app.plugins if isinstance(one, BearerAuthPlugin))
        self._schemas = Schemas()
        self._ids: set[str] = set()
        self._templates: dict[str, str] = {}
        # Parameters of paths with a type, which has this number in Schemas.
        self._wildcards: list[tuple[Schema, int]] = []
        self.operations: list[Operation] = []
        self.problems = list(self._read_routes())
        self._problem_schema = self._schemas.add(ProblemDetails, received=False)
        self.problems += self._schemas.describe()
        # Encoded, because a default may be a tuple.
        self.content: Schema = {} if self.problems else _decoded(self._content(info, url))

    def resolve(self, schema: Schema) -> Schema:
        """Return the schema that this one refers to, or itself."""
        return self._schemas.resolve(schema)

    # From routes to operations

    def _read_routes(self) -> Iterator[StartupProblem]:
        first: dict[tuple[str, str], str] = {}
        for route in self._app.routes:
            name = f"{route.method} {route.rule}"
            if is_redirect(route):
                continue
            try:
                options = msgspec.convert(
                    {
                        key: route.config[key]
                        for key in RouteOptions.__struct_fields__
                        if key in route.config
                    },
                    RouteOptions,
                )
            except msgspec.ValidationError as error:
                yield StartupProblem("", f"has an invalid option: {error}", name)
                continue
            # Those of a plain handler may be names that do not exist at run time.
            is_raw = route.config.get("raw")
            types = {} if is_raw else get_type_hints(route.callback, include_extras=True)
            path, parameters = self._path(route, types)
            for method in ANY_METHOD if route.method == "ANY" else (route.method,):
                if method not in METHODS:
                    continue
                if other := first.get((method, path)):
                    reason = f"has the same path as {other} in openapi.json; change a path"
                    yield StartupProblem("", reason, name)
                    continue
                first[method, path] = name
                operation = self._operation(route, method, path, parameters, options, types)
                self.operations.append(operation)

    def _operation(
        self,
        route: Route,
        method: str,
        path: str,
        parameters: list[Schema],
        options: RouteOptions,
        types: Mapping[str, Any],
    ) -> Operation:
        handler = route.callback
        module = [part for part in handler.__module__.split(".")[1:] if part != "routes"]
        # Below the routes, a package or a module has one subject.
        tag = module[0] if module else "service"
        docstring = inspect.cleandoc(handler.__doc__ or "")
        first, _, rest = docstring.partition("\n")
        words = " ".join(re.findall(NAME, handler.__name__)).capitalize()
        operation = Operation(
            route=route,
            method=method,
            path=path,
            id=self._id(route),
            tag=options.tags[0] if options.tags else tag,
            options=options,
            summary=options.summary or first.removesuffix(".") or words,
            description=docstring if options.summary else rest.strip(),
            schemes=self._auth.schemes(route),
            types=types,
            parameters=[*parameters],
        )
        if "query" in types:
            operation.query_schema = self._schemas.add(types["query"], received=True)
        for name in ("body", "form"):
            if name in types:
                kind = types[name]
                operation.body = get_args(kind)[0] if get_origin(kind) is Form else kind
                operation.is_form = name == "form"
                if kind is not bytes:
                    operation.body_schema = self._schemas.add(operation.body, received=True)
        if operation.status not in NO_BODY:
            operation.result, operation.any_result = _result(types)
        if operation.result is not None:
            operation.result_schema = self._schemas.add(operation.result, received=False)
        return operation

    def _id(self, route: Route) -> str:
        """Return an ID that no other operation has: the names of module and function."""
        parts = [part for part in re.findall(NAME, handler_name(route)) if part != "routes"]
        base = name = "_".join(parts)
        number = 1
        while name in self._ids:
            number += 1
            name = f"{base}_{number}"
        self._ids.add(name)
        return name

    def _path(self, route: Route, types: Mapping[str, Any]) -> tuple[str, list[Schema]]:
        """Return the path's template and its parameters."""
        template, shape, parameters, number = "", "", [], 0
        for part in parts_of(route):
            if not isinstance(part, Wildcard):
                text = part.replace("{", "%7B").replace("}", "%7D")
                template, shape = template + text, shape + text
                continue
            name = part.name
            if not name:  # as Bottle's router calls it
                name, number = f"anon{number}", number + 1
            template, shape = f"{template}\0{name}\1", f"{shape}\0"
            schema = _schema_of(part)
            parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
            is_own_pattern = part.filter == "re" and part.pattern != ANY_SEGMENT
            if not is_own_pattern and name in types and wildcard_parser(part, types[name]):
                number_of_type = self._schemas.add(types[name], received=True)
                self._wildcards.append((parameters[-1], number_of_type))
                if (example := example_of(types[name])) is not NO_EXAMPLE:
                    parameters[-1]["example"] = example
        # Paths that differ in the names of wildcards only are the same one.
        template = self._templates.setdefault(shape, template)
        for parameter, name in zip(parameters, re.findall("\0(.*?)\1", template), strict=True):
            parameter["name"] = name
        return template.replace("\0", "{").replace("\1", "}"), parameters

    # From operations to the document

    def _content(self, info: Mapping[str, str], url: str) -> Schema:
        for parameter, number_of_type in self._wildcards:
            schema = _narrowed(parameter["schema"], self._schemas[number_of_type])
            parameter |= _described(schema)
        paths: dict[str, Schema] = {}
        for operation in self.operations:
            operation.content = self._describe(operation)
            paths.setdefault(operation.path, {})[operation.method.lower()] = operation.content
        versions = re.findall(r"^/api/v(\d+)/", "\n".join(paths), re.MULTILINE)
        used = {scheme for operation in self.operations for scheme in operation.schemes}
        statuses = {
            status: self._problem(status, text)
            for status, text in FAILURES.items()
            if any(
                _reference(status) in one.content["responses"].values() for one in self.operations
            )
        }
        components: Schema = {
            "responses": {_component(status): failure for status, failure in statuses.items()},
            "securitySchemes": {
                name: scheme for name, scheme in SECURITY_SCHEMES.items() if name in used
            },
        }
        content: Schema = {
            "openapi": "3.1.0",
            "info": {**info, "version": max(versions, key=int, default="0")},
            "servers": [{"url": url}],
            "tags": self._tags(),
            "paths": paths,
            "components": components,
        }
        components["schemas"] = self._referred_from(content)
        return content

    def _tags(self) -> list[Schema]:
        """Return the tags; each module describes its own by the first line of its docstring."""
        tags: dict[str, Schema] = {}
        for operation in self.operations:
            for name in operation.options.tags or [operation.tag]:
                tag = tags.setdefault(name, {"name": name})
                module = operation.route.callback.__module__
                while "." in module and not operation.options.tags:
                    text = getattr(sys.modules.get(module), "__doc__", None) or ""
                    if module.rpartition(".")[2] == name and text:
                        tag["description"] = text.strip().partition("\n")[0]
                    module = module.rpartition(".")[0]
        return [*tags.values()]

    def _referred_from(self, content: Schema) -> dict[str, Schema]:
        """Return the schemas to which the document refers, directly or indirectly."""
        found: dict[str, Schema] = {}
        waiting: list[Any] = [content]
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                waiting += value
            elif isinstance(value, dict):
                waiting += value.values()
                name = str(value.get("$ref")).removeprefix(REFERENCE)
                if name in self._schemas.components and name not in found:
                    found[name] = self._schemas.components[name]
                    waiting.append(found[name])
        return dict(sorted(found.items()))

    def _describe(self, operation: Operation) -> Schema:
        options, further = operation.options, list(_further(operation))
        if operation.query_schema is not None:
            operation.parameters += self._query(operation)
        for one in further:
            operation.parameters += one.get("parameters", ())
        content: Schema = {
            "operationId": operation.id,
            "summary": operation.summary,
            "description": operation.description,
            "tags": options.tags or [operation.tag],
            "deprecated": options.deprecated,
            "parameters": operation.parameters,
            "requestBody": self._body(operation),
        }
        content = {name: value for name, value in content.items() if value}
        content["security"] = [{scheme: operation.roles} for scheme in operation.schemes]
        responses: Schema = {str(operation.status): self._success(operation, further)}
        texts = dict.fromkeys(self._failures(operation), "")
        for one in (*further, {"responses": options.responses}):
            texts.update(one.get("responses", {}))
        for status, text in sorted(texts.items()):
            if 200 <= status < 300:
                responses[str(status)] = {**responses[str(operation.status)], "description": text}
            else:
                responses[str(status)] = self._problem(status, text) if text else _reference(status)
        if operation.any_result:
            responses["default"] = {
                "description": "Another response of the handler.",
                "content": {"*/*": {}},
            }
        content["responses"] = responses
        return content

    def _query(self, operation: Operation) -> Iterator[Schema]:
        kind = operation.types["query"]
        schema = self._schemas.resolve(self._schemas[operation.query_schema or 0])
        if "properties" not in schema:
            yield {
                "name": "query",
                "in": "query",
                "style": "form",
                "explode": True,
                "schema": schema,
            }
            return
        required = FieldReader(kind).required
        for name, one in schema["properties"].items():
            parameter: Schema = {"name": name, "in": "query"}
            if name in required:
                parameter["required"] = True
            yield parameter | _described(one)

    def _body(self, operation: Operation) -> Schema:
        if operation.body is bytes:
            return {"content": {operation.route.config.get("consumes", "*/*"): {}}}
        if operation.body_schema is None:
            return {}
        schema = self._schemas[operation.body_schema]
        if not operation.is_form:
            return {"required": True, "content": {"application/json": {"schema": schema}}}
        fields = self._schemas.resolve(schema)
        required = FieldReader(operation.body).required
        if fields.get("required") != required:
            schema = {**fields, "required": required}
        parts = reachable(msgspec.inspect.type_info(operation.body))
        has_files = any(getattr(part, "cls", None) is Upload for part in parts)
        kinds = ["multipart/form-data"]
        kinds += [] if has_files else ["application/x-www-form-urlencoded"]
        return {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}

    def _success(self, operation: Operation, further: list[Schema]) -> Schema:
        response: Schema = {"description": title(operation.status)}
        headers = {
            name: header for one in further for name, header in one.get("headers", {}).items()
        }
        if operation.route.config.get("location"):
            location = {"type": "string", "format": "uri-reference"}
            headers["Location"] = {"required": True, "schema": location}
        if headers:
            response["headers"] = headers
        content = {}
        if operation.result_schema is not None:
            content["application/json"] = {"schema": self._schemas[operation.result_schema]}
        if operation.any_result:
            content["*/*"] = {}
        if content and operation.method != "HEAD":
            response["content"] = content
        return response

    def _failures(self, operation: Operation) -> Iterator[int]:
        """Yield the statuses with which the service itself may respond."""
        types, app = operation.types, self._app
        yield from (400, 500)
        if operation.schemes:
            yield 401
        is_from_page = "session" in operation.schemes and operation.method not in SAFE_METHODS
        if is_from_page or operation.roles:
            yield 403
        if "admin" in operation.schemes or any(one["in"] == "path" for one in operation.parameters):
            yield 404
        if operation.body is not None:
            yield from (413, 415)
        is_checked = (
            operation.body not in (None, bytes) and get_origin(types.get("form")) is not Form
        )
        if "query" in types or is_checked:
            yield 422
        if any(isinstance(app.dependencies.get(name), RequestScoped) for name in types):
            yield 503

    def _problem(self, status: int, text: str) -> Schema:
        """Return a further response; from status 400 on, its content is problem details."""
        response: Schema = {"description": text}
        if status in FAILURE_HEADERS:
            response["headers"] = FAILURE_HEADERS[status]
        if status >= 400:
            schema = self._schemas[self._problem_schema]
            response["content"] = {"application/problem+json": {"schema": schema}}
        return response


def _described(schema: Schema) -> Schema:
    """Return the members of a parameter that hold its schema and its description."""
    inner = {key: value for key, value in schema.items() if key != "description"}
    if "description" in schema:
        return {"description": schema["description"], "schema": inner}
    return {"schema": inner}


def _narrowed(base: Schema, schema: Schema) -> Schema:
    """Return the schema, with the bounds of the wildcard's filter where these are narrower."""
    bounds = {
        name: choose(one[name] for one in (base, schema) if name in one)
        for name, choose in (("minimum", max), ("maximum", min))
        if name in base
    }
    return schema | bounds


def _schema_of(wildcard: Wildcard) -> Schema:
    if wildcard.filter in WILDCARDS:
        return WILDCARDS[wildcard.filter]
    if wildcard.convert is int:
        return WILDCARDS["int"]
    pattern = {ANY_SEGMENT: f"[^/{CONTROLS}]+", ".+?": f"[^{CONTROLS}]+"}.get(
        wildcard.pattern, f"(?:{wildcard.pattern})"
    )
    if OWN_SYNTAX.search(pattern):
        return {"type": "string"}
    return {"type": "string", "pattern": f"^{pattern}$"}


def _result(types: Mapping[str, Any]) -> tuple[Any, bool]:
    """Return the type that becomes JSON, and whether there may be an HTTPResponse instead."""
    kind = types.get("return", HTTPResponse)
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    encoded = tuple(one for one in choices if not _is_response(one) and one is not NoneType)
    return (Union[encoded] if encoded else None), any(map(_is_response, choices))  # noqa: UP007


def _is_response(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, HTTPResponse)


def _further(operation: Operation) -> Iterator[Schema]:
    """Yield what options, and types of parameters and the result, add to the operation."""
    yield from describe_options(operation.route)
    for kind in operation.types.values():
        choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        for one in choices:
            for part in (getattr(one, "__origin__", one), *getattr(one, "__metadata__", ())):
                if not isinstance(added := getattr(part, "openapi", None), dict):
                    continue
                parameters = added.get("parameters", ())
                if NoneType in choices:
                    parameters = [{**parameter, "required": False} for parameter in parameters]
                yield {**added, "parameters": parameters}


def _decoded(content: Schema) -> Schema:
    decoded: Schema = msgspec.json.decode(msgspec.json.encode(content))
    return decoded


def _component(status: int) -> str:
    return title(status).replace(" ", "")


def _reference(status: int) -> Schema:
    return {"$ref": f"#/components/responses/{_component(status)}"}

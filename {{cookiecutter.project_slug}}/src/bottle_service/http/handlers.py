"""Typed handlers: arguments are injected by parameter name, the result becomes the response."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from operator import itemgetter
from types import NoneType
from typing import Any, NamedTuple, get_type_hints

import msgspec
from bottle import HTTPError, HTTPResponse, JSONPlugin, Route, request, response

from . import parsers
from .conditional import entity_tag, if_match_parser, is_not_modified, takes_if_match
from .idempotency import IdempotentRoute
from .patterns import Pattern, next_link, pattern
from .problems import Conflict
from .routing import JSONBody
from .wildcards import Wildcard, parts_of, wildcard_parser

__all__ = ["HandlerPlugin", "RequestScoped"]

PARSERS: dict[str, Callable[[Any, Route], parsers.Parser]] = {
    "body": lambda kind, route: parsers.parse_body(kind, route.config.get("consumes")),
    "client_name": lambda _kind, _route: itemgetter("service.client_name"),
    "environ": lambda _kind, _route: lambda environ: environ,
    "form": lambda kind, _route: parsers.parse_form(kind),
    "query": lambda kind, _route: parsers.parse_query(kind),
}

# Bottle's plugin encodes a raw handler's dict, also one inside an HTTPResponse, which would
# otherwise be iterated as a body of its keys.
_json_if_dict: Callable[..., Callable[..., Any]] = JSONPlugin(json_dumps=msgspec.json.encode).apply


class RequestScoped(NamedTuple):
    """A dependency that is opened for each request.

    `open(method)` returns a context manager; `close()` is called when the application is closed.
    """

    open: Callable[[str], AbstractContextManager[Any]]
    close: Callable[[], None]


class HandlerPlugin:
    """Bottle plugin that calls typed handlers.

    A parameter is a wildcard of the route's rule, `body`, `form` or `query` (each parsed into its
    annotated type), `client_name` (of the token or session), `environ` (PEP 3333), a dependency of
    that name, or of the type IfMatch. This is decided when the route is prepared, at startup.

    The result is encoded as JSON before the dependencies close, so a result that cannot be
    encoded is not committed. A handler may also return or raise a Bottle HTTPResponse, whose body
    is encoded too if it is a Struct or a dict: from status 400 on, dependencies see an exception,
    below they see a success. A Conflict names only fields of the request.
    """

    name = "handlers"
    api = 2

    def __init__(self, dependencies: Mapping[str, Any]) -> None:
        self._dependencies = dependencies

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        # Other objects have neither type hints nor a name. `isroutine` is true for a partial from
        # Python 3.14 on.
        if not inspect.isroutine(callback) or isinstance(callback, partial):
            raise TypeError("is not a function or method; use `def`")
        if route.config.get("raw") and not inspect.iscoroutinefunction(callback):
            return _json_if_dict(callback, route)
        _check_signature(callback, route)
        parse, scoped, singletons = self._resolve_parameters(callback, route)
        respond, finish = _response_writers(route)
        fields = _field_names(callback)
        has_form = "form" in dict(parse)
        idempotency = None
        if route.config.get("idempotent"):
            store = self._dependencies.get("idempotency_keys")
            idempotency = IdempotentRoute(route, store, dict(scoped))

        def work(arguments: dict[str, Any]) -> Any:
            try:
                result = callback(**arguments, **singletons)
            except HTTPResponse as raised:
                result = raised
            if not isinstance(result, HTTPResponse):
                return respond(result)
            # A constant's traceback would grow with every raise.
            result.with_traceback(None)
            sent = finish(result)
            if sent.status_code >= 400:
                raise sent
            return sent

        def call(**arguments: Any) -> Any:
            for name, parser in parse:
                arguments[name] = parser(request.environ)
            try:
                return work(arguments)
            except Conflict as conflict:
                raise conflict.of_request(fields) from None

        run = idempotency.around_work(work) if idempotency else work

        def call_in_scope(**arguments: Any) -> Any:
            environ = request.environ
            try:
                with ExitStack() as stack:
                    if has_form:
                        stack.callback(parsers.close_form, environ)
                    for name, parser in parse:
                        arguments[name] = parser(environ)
                    for name, dependency in scoped:
                        context = dependency.open(environ["REQUEST_METHOD"])
                        arguments[name] = stack.enter_context(context)
                    return run(arguments)
            except Conflict as conflict:
                raise conflict.of_request(fields) from None

        handler: Callable[..., Any] = call_in_scope if scoped or has_form else call
        if idempotency:
            handler = idempotency.around_request(handler, dict(scoped)["session"].open)
        return _with_parsed_wildcards(handler, route, callback)

    def close(self) -> None:
        """Close the dependencies that have a method `close`, such as clients of other services."""
        with ExitStack() as stack:  # closes all, also if one raises
            for dependency in self._dependencies.values():
                close = getattr(dependency, "close", None)
                if callable(close):
                    stack.callback(close)

    def _resolve_parameters(
        self, callback: Callable[..., Any], route: Route
    ) -> tuple[list[tuple[str, parsers.Parser]], list[tuple[str, RequestScoped]], dict[str, Any]]:
        """Decide where each argument comes from. Raises TypeError that says what to change."""
        wildcards = {name for name, _ in route.app.router.builder[route.rule] if name}
        types = get_type_hints(callback, include_extras=True)  # limits of Annotated
        parse, scoped, singletons = [], [], {}
        for name in inspect.signature(callback).parameters:
            if name in wildcards:
                wildcards.remove(name)
            elif takes_if_match(types.get(name)):
                parse.append((name, if_match_parser(types[name], _etag_of_address(route))))
            elif name in PARSERS:
                if name not in types:
                    raise TypeError(f"parameter {name!r} has no type; annotate it")
                if name == "client_name" and route.config.get("public"):
                    raise TypeError("is public, so its client has no name; remove `client_name`")
                parse.append((name, PARSERS[name](types[name], route)))
            elif name not in self._dependencies:
                available = ", ".join([*PARSERS, *self._dependencies])
                raise TypeError(f"unknown parameter {name!r}; available: {available}")
            elif isinstance(self._dependencies[name], RequestScoped):
                scoped.append((name, self._dependencies[name]))
            else:
                singletons[name] = self._dependencies[name]
        if wildcards:
            missing = ", ".join(sorted(wildcards))
            raise TypeError(f"add a parameter for the wildcard {missing}")
        return parse, scoped, singletons


def _check_signature(callback: Callable[..., Any], route: Route) -> None:
    """Raise TypeError that says what to change, if each request to the handler would fail."""
    if inspect.iscoroutinefunction(callback) or inspect.isasyncgenfunction(callback):
        raise TypeError("is async, which WSGI cannot run; use `def`")
    if inspect.isgeneratorfunction(callback):
        raise TypeError("is a generator, which outlives its dependencies; return a list")
    types = get_type_hints(callback)
    status = route.config.get("status", 200)
    if types.get("return") is NoneType and status != 204 and not _is_redirect(status):
        raise TypeError("returns None; return a value, or add the option status=204")
    if types.get("return") in (bytes, bytearray, memoryview):
        raise TypeError("returns bytes, which JSON lacks; return HTTPResponse(body, headers=…)")
    if {"body", "form"} <= inspect.signature(callback).parameters.keys():
        raise TypeError("takes body and form, but a request has one of them; remove a parameter")
    if "consumes" in route.config and types.get("body") is not bytes:
        raise TypeError("has the option `consumes`; add a parameter `body: bytes`")
    clashes = {name for name, _ in route.app.router.builder[route.rule]} & PARSERS.keys()
    if clashes:
        name = min(clashes)
        raise TypeError(f"rename the wildcard {name!r}: a parameter of this name is another value")


def _is_redirect(status: int) -> bool:
    return 300 <= status < 400


def _with_parsed_wildcards(
    handler: Callable[..., Any], route: Route, callback: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a handler that gets the wildcards in the types of the callback's parameters."""
    types = get_type_hints(callback, include_extras=True)
    parse = {
        part.name: parser
        for part in parts_of(route)
        if isinstance(part, Wildcard) and part.name in types
        if (parser := wildcard_parser(part, types[part.name]))
    }
    if not parse:
        return handler

    def handle(**arguments: Any) -> Any:
        for name, parser in parse.items():
            arguments[name] = parser(arguments[name])
        return handler(**arguments)

    return handle


def _field_names(callback: Callable[..., Any]) -> dict[str, str]:
    """Return the names of all fields that a client can send, by those in Python."""
    types = get_type_hints(callback, include_extras=True)
    names: dict[str, str] = {}
    for parameter in {"body", "form", "query"} & types.keys():
        names |= parsers.field_names(types[parameter])
    return names


def _response_writers(
    route: Route,
) -> tuple[Callable[[Any], Any], Callable[[HTTPResponse], HTTPResponse]]:
    """Return two functions: the first makes the route's response of a handler's result.

    The second one returns what is sent for an HTTPResponse. Of one with a Struct, a dict or a list as
    its body, that is a copy with JSON, because it may be a constant; it gets the headers of the
    route's options, unless it is an error or has them. Both raise TypeError for what cannot be sent.
    """
    encode = msgspec.json.Encoder().encode
    status = route.config.get("status", 200)
    headers = _header_writer(route)
    is_redirect = _is_redirect(status)

    def respond(result: Any) -> Any:
        if result is None and status != 204 and not is_redirect:
            raise TypeError(
                f"{route.rule}: the handler returned None; return a value, or set status=204"
            )
        body = b"" if status == 204 or is_redirect else JSONBody(encode(result))
        if status != 200:
            response.status = status
        if headers and (result is not None or is_redirect):
            headers(result, response)
        return body

    def finish(result: HTTPResponse) -> HTTPResponse:
        body = result.body
        if isinstance(result, HTTPError):  # the details of a problem are sent, and not the body
            return result
        if isinstance(body, list | tuple):
            is_json = not all(isinstance(item, str | bytes) for item in body)
        else:
            is_json = isinstance(body, dict | msgspec.Struct)
        if not is_json:
            if not (body is None or hasattr(body, "read") or hasattr(body, "__iter__")):
                kind = type(body).__name__
                raise TypeError(f"{route.rule}: an HTTPResponse cannot send a body of type {kind}")
            return result
        sent = result.copy(HTTPResponse)
        sent.body = encode(body)
        sent.headers.setdefault("Content-Type", "application/json")
        if headers and sent.status_code < 400:
            headers(body, sent)
        return sent

    return respond, finish


def _etag_of_address(route: Route) -> Pattern | None:
    """Return the option `etag` of the route, or of another route with its rule."""
    same = [one.config for one in (route, *route.app.routes) if one.rule == route.rule]
    return next((entity_tag(config["etag"]) for config in same if "etag" in config), None)


def _header_writer(route: Route) -> Callable[[Any, Any], None] | None:
    """Return a function that adds the headers of the route's options, or None if it has none.

    It gets the handler's result, and the response that is sent.
    """
    options = route.config
    location_of = pattern(options["location"]) if "location" in options else None
    tag_of = entity_tag(options["etag"]) if "etag" in options else None
    link_of = next_link(options["next_page"]) if "next_page" in options else None
    if not (location_of or tag_of or link_of):
        return None

    def write(result: Any, sent: Any) -> None:
        if location_of:
            sent.headers.setdefault("Location", location_of(result))
        if tag_of:
            tag = tag_of(result)
            sent.headers.setdefault("ETag", tag)
            if route.method == "GET" and is_not_modified(request.environ, tag):
                sent.status = 304  # sent without the body
        if link_of and (link := link_of(request.environ, result)):
            sent.headers.setdefault("Link", link)

    return write

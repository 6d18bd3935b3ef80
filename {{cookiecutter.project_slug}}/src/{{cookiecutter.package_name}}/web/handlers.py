"""Typed handlers: a route's function gets what its parameters name and returns what it means."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple, get_type_hints

import msgspec
from bottle import HTTPResponse, JSONPlugin, Route, request, response

from . import inputs

READERS: dict[str, Callable[[Any], inputs.Reader]] = {
    "body": inputs.json_body,
    "form": inputs.form,
    "query": inputs.query,
}


# It makes JSON of a dict, and of one in an HTTPResponse: of its keys, otherwise.
_of_dicts: Callable[..., Callable[..., Any]] = JSONPlugin(json_dumps=msgspec.json.encode).apply


class PerRequest(NamedTuple):
    """A resource that is opened for each request: `open(method)` returns a context manager.

    `close` is called once, when the application is closed.
    """

    open: Callable[[str], AbstractContextManager[Any]]
    close: Callable[[], None]


class HandlerPlugin:
    """Bottle plugin that calls typed handlers.

    A parameter is a wildcard of the route's rule, `body`, `form` or `query` (read into its
    annotated type), or a resource of that name: decided when the route is prepared, at start.

    The result is encoded as JSON before the resources close, so what cannot be encoded is not
    committed. A handler may return or raise a Bottle HTTPResponse instead: to the resources it
    is an error from status 400 on, and a success below.
    """

    name = "handlers"
    api = 2

    def __init__(self, resources: Mapping[str, Any]) -> None:
        self._resources = resources

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        if route.config.get("raw") and not inspect.iscoroutinefunction(callback):
            return _of_dicts(callback, route)
        readers, opened, constants = self._plan(callback, route)
        reply = _reply(route)

        def simple(**arguments: Any) -> Any:
            for name, read in readers:
                arguments[name] = read(request.environ)
            return reply(callback(**arguments, **constants))

        def with_resources(**arguments: Any) -> Any:
            environ = request.environ
            with ExitStack() as stack:
                stack.callback(inputs.close_form, environ)
                for name, read in readers:
                    arguments[name] = read(environ)
                for name, resource in opened:
                    context = resource.open(environ["REQUEST_METHOD"])
                    arguments[name] = stack.enter_context(context)
                try:
                    result = callback(**arguments, **constants)
                except HTTPResponse as answer:
                    result = answer
                if isinstance(result, HTTPResponse):
                    result.with_traceback(None)  # it would grow, if this is a constant
                    if result.status_code >= 400:
                        raise result
                return reply(result)

        typed = with_resources if opened or "form" in dict(readers) else simple
        return _of_dicts(typed, route)

    def close(self) -> None:
        for resource in self._resources.values():
            if isinstance(resource, PerRequest):
                resource.close()

    def _plan(
        self, callback: Callable[..., Any], route: Route
    ) -> tuple[list[tuple[str, inputs.Reader]], list[tuple[str, PerRequest]], dict[str, Any]]:
        """Decide where each parameter comes from. Raises TypeError that says what to change."""
        if inspect.iscoroutinefunction(callback) or inspect.isasyncgenfunction(callback):
            raise TypeError("is async, which WSGI cannot run; use `def`")
        if inspect.isgeneratorfunction(callback):
            raise TypeError("is a generator, which outlives its resources; return a list")
        wildcards = {name for name, _ in route.app.router.builder[route.rule] if name}
        kinds = get_type_hints(callback)
        readers, opened, constants = [], [], {}
        for name in inspect.signature(callback).parameters:
            if name in wildcards:
                wildcards.remove(name)
            elif name in READERS:
                if name not in kinds:
                    raise TypeError(f"give the parameter {name!r} a type")
                readers.append((name, READERS[name](kinds[name])))
            elif name not in self._resources:
                known = ", ".join([*READERS, *self._resources])
                raise TypeError(f"nothing is called {name!r}; there are {known}")
            elif isinstance(self._resources[name], PerRequest):
                opened.append((name, self._resources[name]))
            else:
                constants[name] = self._resources[name]
        if wildcards:
            missing = ", ".join(sorted(wildcards))
            raise TypeError(f"add a parameter for the wildcard {missing}")
        return readers, opened, constants


def _reply(route: Route) -> Callable[[Any], Any]:
    """Return what turns a handler's result into the route's answer."""
    encode = msgspec.json.Encoder().encode
    status = route.config.get("status", 200)
    location = route.config.get("location")

    def reply(result: Any) -> Any:
        if isinstance(result, HTTPResponse):
            return result
        if status == 204:
            response.status = status
            return b""
        if result is None:
            raise TypeError(f"{route.rule}: the handler returned nothing; status=204 allows that")
        body = encode(result)
        if status != 200:
            response.status = status
        response.content_type = "application/json"
        if location:
            response.set_header("Location", location.format(result))
        return body

    return reply

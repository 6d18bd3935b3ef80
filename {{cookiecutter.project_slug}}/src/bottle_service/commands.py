"""Commands of a service's own: functions that get the same dependencies as handlers."""

import argparse
import inspect
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from types import ModuleType
from typing import Any, TypeVar, get_type_hints

import msgspec

from .http.handlers import RequestScoped
from .startup import StartupProblem

__all__ = ["Call", "call", "command"]

F = TypeVar("F", bound=Callable[..., object])

# The type of the dependency `call`.
Call = Callable[..., None]

logger = logging.getLogger(__name__)


def command(function: F) -> F:
    """Make a function of `commands.py` a command: `python -m PACKAGE NAME`.

    Positional parameters are dependencies of `app.py`, by name. Keyword-only parameters are options
    of the command line, of any type that a query can have: `*, count: int = 10` is `--count`.
    The first line of the docstring is the help, as is the `description` of an option's `Meta`.

    A command that runs for long, such as a worker, takes `call: Call` instead of a session.
    `call(function, note_id=1)` runs a function of the same form in a transaction of its own.
    """
    function.__dict__["is_command"] = True
    return function


def commands_of(module: ModuleType | None) -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield the name and function of each command of the module."""
    for name, function in vars(module).items() if module else ():
        # Not getattr(): `sqlalchemy.func` and others have every attribute.
        if "is_command" in getattr(function, "__dict__", ()):
            yield name.replace("_", "-"), function


def add_options(parser: argparse.ArgumentParser, function: Callable[..., object]) -> None:
    """Add the keyword-only parameters of the command to the parser, as options."""
    types = get_type_hints(function, include_extras=True)
    for name, parameter in _options(function):
        option = f"--{name.replace('_', '-')}"
        kind = types.get(name, str)
        described = _description(kind)
        if parameter.default is False:
            parser.add_argument(option, action="store_true", help=described)
        else:
            required = parameter.default is parameter.empty
            default = None if required else parameter.default
            preset = "required" if required else f"default: {default}".replace("%", "%%")
            parser.add_argument(
                option,
                type=_converter(kind),
                required=required,
                default=default,
                help=f"{described}; {preset}" if described else preset,
            )


def _description(kind: Any) -> str:
    """Return the description of `Annotated[…, Meta(description=…)]`, as argparse prints it."""
    texts = [getattr(one, "description", None) for one in getattr(kind, "__metadata__", ())]
    return " ".join(filter(None, texts)).replace("%", "%%")


def _converter(wanted: Any) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return msgspec.convert(text, wanted, strict=False)
        except msgspec.ValidationError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def problems(
    module: ModuleType | None, dependencies: Mapping[str, Any]
) -> Iterator[StartupProblem]:
    """Yield each parameter of a command that is not a dependency."""
    for name, function in commands_of(module):
        for parameter in _dependencies(function):
            if parameter not in (available := [*dependencies, "call"]):
                reason = (
                    f"unknown parameter {parameter!r}; available: {', '.join(available)}; "
                    "write options of the command line after `*`"
                )
                yield StartupProblem("", reason, f"command {name}")


def run(
    name: str,
    function: Callable[..., object],
    dependencies: Mapping[str, Any],
    options: argparse.Namespace,
    *,
    log_run: bool,
) -> None:
    """Run the command in one transaction, and log its end.

    Exits with 1 if the command raises an exception, which is logged; nothing is committed then.
    With `log_run`, each log entry of the command has its name and the ID of this run.
    """
    arguments = {option: getattr(options, option) for option, _ in _options(function)}
    dependencies = {"call": partial(call, dependencies), **dependencies}
    if log_run:
        _add_to_log_entries({"process.name": name, "process.entity_id": os.urandom(16).hex()})
    started = time.monotonic_ns()
    try:
        call(dependencies, function, **arguments)
    except Exception:
        logger.exception("%s failed", name, extra=_duration(started))
        sys.exit(1)
    logger.info("%s finished", name, extra=_duration(started))


def call(
    dependencies: Mapping[str, Any], function: Callable[..., object], /, **arguments: Any
) -> None:
    """Call a function with the dependencies that its positional parameters name.

    It runs in one transaction, which is committed at the end and rolled back if it raises.
    `arguments` are its keyword-only parameters.
    """
    with ExitStack() as stack:
        for parameter in _dependencies(function):
            dependency = dependencies[parameter]
            if isinstance(dependency, RequestScoped):
                dependency = stack.enter_context(dependency.open("POST"))
            arguments[parameter] = dependency
        function(**arguments)


def _dependencies(function: Callable[..., object]) -> list[str]:
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.KEYWORD_ONLY
    ]


def _options(function: Callable[..., object]) -> list[tuple[str, inspect.Parameter]]:
    return [
        (name, parameter)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]


def _duration(started: int) -> dict[str, int]:
    return {"event.duration": time.monotonic_ns() - started}  # ns, as in the access log


def _add_to_log_entries(fields: dict[str, str]) -> None:
    def add(record: logging.LogRecord) -> bool:
        record.__dict__.update(fields)
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(add)

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
from typing import Any, NamedTuple, TypeAlias, TypeVar, get_type_hints

import msgspec

from .http.handlers import RequestScoped
from .http.validation import Limits, choices
from .http.wildcards import TYPES
from .startup import StartupError, StartupProblem

__all__ = ["Call", "call", "command"]

Function: TypeAlias = Callable[..., object]
F = TypeVar("F", bound=Function)

# The type of the dependency `call`.
Call = Callable[..., None]

# What the text of an option can become; bytes of Base64, as in a query.
OPTION_TYPES = TYPES | msgspec.inspect.BytesType | msgspec.inspect.AnyType

logger = logging.getLogger(__name__)


def command(function: F) -> F:
    """Make a function of `commands.py` a command: `python -m PACKAGE NAME`.

    Positional parameters are dependencies of `app.py`, by name. Keyword-only parameters are options
    of the command line, of any type that a query can have: `*, count: int = 10` is `--count`, and
    `*, tags: list[str] = []` is repeated, as in `--tags a --tags b`. The limits of a query apply.
    The first line of the docstring is the help, as is the `description` of an option's `Meta`.

    A command that runs for long, such as a worker, takes `call: Call` instead of a session.
    `call(function, note_id=1)` runs a function of the same form in a transaction of its own.
    """
    function.__dict__["is_command"] = True
    return function


def commands_of(module: ModuleType | None) -> Iterator[tuple[str, Function]]:
    """Yield the name and function of each command of the module."""
    for name, function in vars(module).items() if module else ():
        # Not getattr(): `sqlalchemy.func` and others have every attribute.
        if "is_command" in getattr(function, "__dict__", ()):
            yield name.replace("_", "-"), function


def add_options(parser: argparse.ArgumentParser, command: str, function: Function) -> None:
    """Add the keyword-only parameters of the command to the parser, as options.

    Raises StartupError for a name that every command has, and for a type that no text becomes.
    """
    for option in _options_of(command, function):
        default = option.parameter.default
        described = _description(option.kind)
        # A prefix, because the parser has attributes of its own, such as `function`. An option that
        # is not given is absent, so that the function's own default counts.
        settings: dict[str, Any] = {"dest": option.dest, "default": argparse.SUPPRESS}
        if default is False:
            parser.add_argument(option.text, action="store_true", help=described, **settings)
            continue
        required = default is inspect.Parameter.empty
        preset = "required" if required else f"default: {default}".replace("%", "%%")
        preset += "; can be repeated" if option.is_list else ""
        parser.add_argument(
            option.text,
            action="append" if option.is_list else "store",
            required=required,
            metavar=option.parameter.name.upper(),
            help=f"{described}; {preset}" if described else preset,
            **settings,
        )


def read_options(
    parser: argparse.ArgumentParser,
    command: str,
    function: Function,
    parsed: argparse.Namespace,
) -> dict[str, Any]:
    """Return the options that are given, by the names of the function's parameters.

    The parser prints an invalid option, and exits with 2.
    """
    arguments = {}
    for option in _options_of(command, function):
        if option.dest in parsed:
            try:
                value = msgspec.convert(getattr(parsed, option.dest), option.kind, strict=False)
                # The limits of a query.
                apply_limits = Limits(option.kind).apply
                value = apply_limits(value) if apply_limits else value
            except msgspec.ValidationError as error:
                parser.error(f"argument {option.text}: {error}")
            arguments[option.parameter.name] = value
    return arguments


class _Option(NamedTuple):
    parameter: inspect.Parameter
    kind: Any
    is_list: bool

    @property
    def text(self) -> str:
        return f"--{self.parameter.name.replace('_', '-')}"

    @property
    def dest(self) -> str:
        return f"option {self.parameter.name}"


def _options_of(command: str, function: Function) -> Iterator[_Option]:
    """Yield the options of a command. Raises StartupError for the first that cannot be one."""
    types = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        kind = types.get(name, str)
        kinds = _choices(msgspec.inspect.type_info(kind))
        lists = [one for one in kinds if isinstance(one, msgspec.inspect.CollectionType)]
        reason = ""
        if name == "help":
            reason = "the option --help prints the help of every command; rename the parameter"
        elif not all(isinstance(one, OPTION_TYPES) for one in _items(kinds)):
            reason = (
                f"the option {name!r} cannot be of the type {kind}; annotate it with the type of a "
                "value, such as int or str, or with a list of values"
            )
        if reason:
            raise StartupError([StartupProblem("", reason, f"command {command}")])
        yield _Option(parameter, kind, bool(lists))


def _choices(kind: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    """Return the types of a union, or the one type, without None."""
    return [one for one in choices(kind) if not isinstance(one, msgspec.inspect.NoneType)]


def _items(kinds: list[msgspec.inspect.Type]) -> Iterator[msgspec.inspect.Type]:
    """Yield the types, and in the place of a list those of its items."""
    for kind in kinds:
        if isinstance(kind, msgspec.inspect.CollectionType):
            yield from _choices(kind.item_type)
        else:
            yield kind


def _description(kind: Any) -> str:
    """Return the description of `Annotated[…, Meta(description=…)]`, as argparse prints it."""
    texts = [getattr(one, "description", None) for one in getattr(kind, "__metadata__", ())]
    return " ".join(filter(None, texts)).replace("%", "%%")


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
    function: Function,
    dependencies: Mapping[str, Any],
    arguments: dict[str, Any],
    *,
    log_run: bool,
) -> None:
    """Run the command with these options in one transaction, and log its end.

    Exits with 1 if the command raises an exception, which is logged; nothing is committed then.
    With `log_run`, each log entry of the command has its name and the ID of this run.
    """
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


def call(dependencies: Mapping[str, Any], function: Function, /, **arguments: Any) -> None:
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


def _dependencies(function: Function) -> list[str]:
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.KEYWORD_ONLY
    ]


def _duration(started: int) -> dict[str, int]:
    return {"event.duration": time.monotonic_ns() - started}  # ns, as in the access log


def _add_to_log_entries(fields: dict[str, str]) -> None:
    def add(record: logging.LogRecord) -> bool:
        record.__dict__.update(fields)
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(add)

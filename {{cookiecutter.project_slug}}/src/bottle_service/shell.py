"""The command `shell`: an interpreter with the dependencies and models of the service."""

import code
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from importlib import import_module
from types import CodeType
from typing import Any

from .http.handlers import RequestScoped

__all__ = ["run"]

# Ends the interaction with a session: see Database.pause.
Pause = Callable[[Any], bool]


class _Rollback(Exception):
    """Rolls the transactions back at the end."""


def run(name: str, package: str, dependencies: Mapping[str, Any], pause: Pause | None) -> None:
    """Run an interpreter with the dependencies and the classes of the package's module `models`.

    Only `session.commit()` of the user commits; a line on stderr reports a rollback of changes. If
    standard input is not a terminal, it is a program, as for `python -`: an exception makes the
    exit status 1. `pause` is called for the session before each prompt.
    """
    interactive = sys.stdin.isatty()
    with suppress(_Rollback), ExitStack() as stack:
        # A person holds no write lock. A program writes in one transaction, as a command does.
        method = "GET" if interactive else "POST"
        scoped = {
            key: stack.enter_context(dependency.open(method))
            for key, dependency in dependencies.items()
            if isinstance(dependency, RequestScoped)
        }

        def pause_session() -> bool:
            return bool(pause and "session" in scoped and pause(scoped["session"]))

        names = {**(_queries() if pause else {}), **_models(package), **dependencies, **scoped}
        variables = {**names, "__name__": "__console__"}
        pause_session()
        try:
            if interactive:
                _interact(f"{name}: {', '.join(names)}", variables, pause_session)
            else:
                exec(compile(sys.stdin.read(), "<stdin>", "exec"), variables)  # noqa: S102
        finally:
            if pause_session():
                reason = "the changes are rolled back, because session.commit() was not called"
                print(f"{name}: {reason}", file=sys.stderr)
        raise _Rollback


def _queries() -> dict[str, Any]:
    sqlalchemy = import_module("sqlalchemy")  # a service without a database does not have it
    return {name: getattr(sqlalchemy, name) for name in ("delete", "func", "select", "update")}


def _models(package: str) -> dict[str, type]:
    module = f"{package}.models"
    try:
        variables = vars(import_module(module))
    except ModuleNotFoundError as error:
        if error.name and not f"{module}.".startswith(f"{error.name}."):
            raise
        return {}
    return {
        name: value
        for name, value in variables.items()
        if isinstance(value, type) and f"{value.__module__}.".startswith(f"{module}.")
    }


def _interact(banner: str, variables: dict[str, Any], pause: Callable[[], object]) -> None:
    with suppress(ImportError):  # Python may be built without readline
        import readline
        import rlcompleter

        readline.set_completer(rlcompleter.Completer(variables).complete)
        readline.parse_and_bind("tab: complete")
    _Console(variables, pause).interact(banner, exitmsg="")


class _Console(code.InteractiveConsole):
    def __init__(self, variables: dict[str, Any], pause: Callable[[], object]) -> None:
        super().__init__(variables)
        self._pause = pause

    def runcode(self, code: CodeType) -> None:
        super().runcode(code)
        self._pause()

"""Wildcards of routes: filters that choose the URLs, and the types of handlers' parameters."""

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from math import inf, isfinite
from typing import Any, NamedTuple

import msgspec
from bottle import Bottle, Route
from msgspec import inspect

from .problems import DETAILS, Problem
from .validation import DECIMAL, LARGEST_INTEGER, SMALLEST_INTEGER, Limits, choices

__all__ = ["TYPES", "Wildcard", "add_filters", "parts_of", "wildcard_parser"]

# What a part of a URL can become.
TYPES = (
    inspect.StrType
    | inspect.IntType
    | inspect.FloatType
    | inspect.BoolType
    | inspect.DecimalType
    | inspect.UUIDType
    | inspect.DateType
    | inspect.DateTimeType
    | inspect.TimeType
    | inspect.TimeDeltaType
    | inspect.EnumType
    | inspect.LiteralType
)
_INTEGERS = (
    inspect.IntType
    | inspect.FloatType
    | inspect.DecimalType
    | inspect.EnumType
    | inspect.LiteralType
)
# The types that the filters of numbers make, and what these numbers can become.
NUMBERS: dict[str, tuple[type, Any]] = {
    "id": (int, _INTEGERS),
    "int": (int, _INTEGERS),
    "float": (float, inspect.FloatType | inspect.DecimalType),
}


class Wildcard(NamedTuple):
    """A wildcard of a rule, `<name:filter:config>`; the default filter is `re`.

    `pattern` is the filter's regular expression. `convert` makes the filter's value of the text; it
    is None if the value is the text itself.
    """

    name: str
    filter: str
    pattern: str
    convert: Callable[[str], Any] | None


def parts_of(route: Route) -> Iterator[str | Wildcard]:
    """Yield the texts and wildcards of the route's rule, from left to right."""
    router = route.app.router
    for text, mode, config in router._itertokens(route.rule):
        if mode:
            mode = "re" if mode == "default" else mode
            pattern, convert, _ = router.filters[mode](config)
            yield Wildcard(text, mode, pattern, convert)
        else:
            yield text


def wildcard_parser(wildcard: Wildcard, kind: Any) -> Callable[[Any], Any] | None:
    """Return a function that makes a value of this type of what the filter returns.

    It is None if that is one already. The function raises Problem: 404 for a text that cannot become
    the type, because no address has it. Raises TypeError if a part of a URL cannot become the type
    at all.
    """
    kinds = choices(inspect.type_info(kind))
    filter_ = wildcard.filter
    is_any = any(isinstance(one, inspect.AnyType) for one in kinds)
    if is_any or (wildcard.convert and filter_ not in NUMBERS):  # a filter of the service's own
        return None
    usual, possible = NUMBERS.get(filter_, (str, TYPES))
    if usual is str and inspect.StrType() in kinds:
        return None
    if not all(isinstance(one, possible) for one in kinds):
        what = "a part of a URL" if usual is str else f"the filter {filter_!r}"
        raise TypeError(f"{what} does not make the type {kind}; annotate it with {usual.__name__}")
    if usual is not str and kinds in ([inspect.IntType()], [inspect.FloatType()]):
        return None
    apply_limits = Limits(kind).apply

    def parse(value: Any) -> Any:
        try:
            value = _convert(value, kind)
            return apply_limits(value) if apply_limits else value
        except msgspec.DecodeError:
            raise Problem(404, DETAILS[404]) from None

    return parse


def _convert(value: Any, kind: Any) -> Any:
    """Return the value as this type. Raises DecodeError.

    Numbers are written as in JSON. `strict=False` would read more: 0 as a duration, and as a time.
    """
    if kind is Decimal and isinstance(value, str) and not re.fullmatch(DECIMAL, value):
        raise msgspec.ValidationError("Expected a decimal number")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        if not (isinstance(value, str) and re.match("-?[0-9]|true$|false$", value)):
            raise
        return msgspec.convert(msgspec.json.decode(value), kind)


def add_filters(app: Bottle) -> None:
    """Add the filter `id`, and replace `int` and `float` of Bottle.

    Bottle's own filters match numbers that no database column holds, and digits of all scripts.
    """
    # At most 18 digits, so that every ID fits into a 64-bit database column.
    app.router.add_filter("id", lambda _config: (r"[1-9][0-9]{0,17}", int, str))
    app.router.add_filter("int", lambda _config: (r"-?[0-9]{1,19}", _integer, str))
    app.router.add_filter("float", lambda _config: (r"-?[0-9.]+", _number, str))


def _integer(text: str) -> int:
    number = int(text)
    if not SMALLEST_INTEGER <= number <= LARGEST_INTEGER:
        raise Problem(404, DETAILS[404])
    return number


def _number(text: str) -> float:
    # A path such as /1.2.3 is not an address of the route.
    number = float(text) if text.count(".") <= 1 and text.strip("-.") else inf
    if not isfinite(number):
        raise Problem(404, DETAILS[404])
    return number

"""Validation beyond msgspec: limits of databases and times, and every error of a request."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import inspect

from .problems import FieldError

__all__ = [
    "DECIMAL",
    "LARGEST_INTEGER",
    "NUL_MESSAGE",
    "SMALLEST_INTEGER",
    "ErrorSearch",
    "LimitError",
    "Limits",
    "bare",
    "choices",
    "nul_errors",
    "pointer_to",
    "reachable",
]

# The integers of a 64-bit database column.
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**63 - 1
# The texts of a Decimal.
DECIMAL = r"^-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?$"
# A deeper error is reported at the value of this depth that contains it.
MAX_DEPTH = 16
MAX_ERRORS = 100
NUL_MESSAGE = "must not contain the character NUL"

# Returns the message for a value that is not of this type.
Describe = Callable[[Any, msgspec.ValidationError], str]


class LimitError(msgspec.ValidationError):
    """A value of the right type that is outside of the limits; its text is a sentence."""


class Limits:
    """Check the values that msgspec has converted to a type, and make times UTC.

    An integer must fit into 64 bits and a number must be finite: the drivers of databases raise
    exceptions for others. A time must have a time zone, except where the type has `Meta(tz=False)`.
    The types are inspected once, so that requests pay only for the fields with such values.

    `apply` is a function that returns a value with its times in UTC, and raises LimitError. It is
    None if the type contains none of these values.
    """

    def __init__(self, kind: Any) -> None:
        root = inspect.type_info(kind)
        limited = _contains_limited(root)
        self.apply = self._apply if limited else None
        # The attributes of each class that can contain such values.
        self._attributes: dict[type, tuple[str, ...]] = {}
        for part in reachable(root) if limited else ():
            if isinstance(part, inspect.StructType | inspect.DataclassType):
                names = [field.name for field in part.fields if _contains_limited(field.type)]
                cls = get_origin(part.cls) or part.cls
                # Page[int] and Page[str] are instances of one class.
                known = self._attributes.get(cls, ())
                self._attributes[cls] = tuple(dict.fromkeys([*known, *names]))

    def _apply(self, value: Any) -> Any:
        kind = type(value)
        if kind is int:
            if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
                raise LimitError("The number must fit into 64 bits.")
        elif kind is str or value is None or kind is bool:
            return value
        elif kind in self._attributes:
            for name in self._attributes[kind]:
                before = getattr(value, name)
                after = self._apply(before)
                if after is not before:
                    _set_attribute(value, name, after)
        elif kind is datetime:
            return _to_utc(value)
        elif kind is float or kind is Decimal:
            # isfinite() raises ValueError for a Decimal that is a signaling NaN.
            if not (isfinite(value) if kind is float else value.is_finite()):
                raise LimitError("The number must be finite.")
        elif kind is dict:
            return {self._apply(key): self._apply(item) for key, item in value.items()}
        elif isinstance(value, tuple) and hasattr(value, "_make"):
            return value._make(map(self._apply, value))
        elif isinstance(value, list | tuple | set | frozenset):
            return kind(map(self._apply, value))
        return value


def _to_utc(time: datetime) -> datetime:
    if time.tzinfo is UTC:
        return time
    if time.tzinfo is None:
        raise LimitError("The time must have a time zone, such as Z or +01:00.")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise LimitError("The time is out of range.") from None


def _set_attribute(value: Any, name: str, new: Any) -> None:
    """Set an attribute, also of a frozen instance."""
    if isinstance(value, msgspec.Struct):
        msgspec.structs.force_setattr(value, name, new)
    else:
        object.__setattr__(value, name, new)


def bare(kind: inspect.Type) -> inspect.Type:
    """Return the type inside of Annotated."""
    return bare(kind.type) if isinstance(kind, inspect.Metadata) else kind


def choices(kind: inspect.Type) -> list[inspect.Type]:
    """Return the types of a union, or the one type, without Annotated."""
    kind = bare(kind)
    return [bare(one) for one in kind.types] if isinstance(kind, inspect.UnionType) else [kind]


def _contains_limited(kind: inspect.Type) -> bool:
    return any(map(_is_limited, reachable(kind)))


def _is_limited(kind: inspect.Type) -> bool:
    match kind:
        case inspect.IntType():
            # The bounds of msgspec themselves fit into 64 bits.
            has_lower = kind.ge is not None or kind.gt is not None
            has_upper = kind.le is not None or kind.lt is not None
            return not (has_lower and has_upper)
        case inspect.DateTimeType():
            return kind.tz is not False
    return isinstance(kind, inspect.AnyType | inspect.FloatType | inspect.DecimalType)


def reachable(kind: inspect.Type) -> list[inspect.Type]:
    """Return the type and all types that it contains; types may contain themselves."""
    found: dict[int, inspect.Type] = {}
    waiting = [kind]
    while waiting:
        one = waiting.pop()
        if id(one) not in found:
            found[id(one)] = one
            waiting += _parts(one)
    return list(found.values())


def _parts(kind: Any) -> list[inspect.Type]:
    match kind:
        case inspect.Metadata():
            return [kind.type]
        case inspect.UnionType():
            return [*kind.types]
        case inspect.CollectionType():
            return [kind.item_type]
        case inspect.TupleType():
            return [*kind.item_types]
        case inspect.DictType():
            return [kind.key_type, kind.value_type]
    return [field.type for field in getattr(kind, "fields", ())]


def nul_errors(value: Any, pointer: str = "") -> Iterator[FieldError]:
    """Yield each text of decoded JSON that contains NUL, which PostgreSQL cannot store."""
    if isinstance(value, str) and "\0" in value:
        yield FieldError(pointer, NUL_MESSAGE)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from nul_errors(item, f"{pointer}/{index}")
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = pointer + pointer_to(key)
            if "\0" in key:
                yield FieldError(inner, NUL_MESSAGE)
            yield from nul_errors(item, inner)


def pointer_to(name: str) -> str:
    """Return the JSON Pointer (RFC 6901) to the member of this name."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


class ErrorSearch:
    """Search a value that cannot become a type for all of its errors; msgspec stops at the first.

    The values are decoded JSON (`strict`) or the texts of a form. The parts of Struct, dict and list
    are converted one by one. `describe` returns the message for a value that is not of a type, or
    an empty text for msgspec's own message.
    """

    def __init__(
        self, kind: Any, *, strict: bool, describe: Describe = lambda _kind, _error: ""
    ) -> None:
        self._kind = kind
        self._strict = strict
        self._describe = describe
        # By the identity of each type, because not all types are hashable. The types are kept, so
        # that their identities stay theirs.
        self._known: dict[int, _KnownType] = {}

    def find(self, value: Any, error: msgspec.ValidationError) -> list[FieldError]:
        """Return the errors of the value, at most MAX_ERRORS; `error` is the first one."""
        errors = list(islice(self._errors(self._kind, value), MAX_ERRORS))
        return errors or self.first(error)

    def first(self, error: msgspec.ValidationError) -> list[FieldError]:
        """Return only this error."""
        return [self._own_error(self._kind, error, "")]

    def _look_up(self, kind: Any) -> "_KnownType":
        if id(kind) not in self._known:
            fields = msgspec.structs.fields(kind) if _is_struct(kind) else ()
            self._known[id(kind)] = _KnownType(kind, Limits(kind).apply, fields)
        return self._known[id(kind)]

    def _errors(
        self, kind: Any, value: Any, pointer: str = "", depth: int = 0
    ) -> Iterator[FieldError]:
        try:
            self._convert(kind, value)
        except msgspec.ValidationError as error:
            is_inner = False
            for inner in self._inner_errors(_without_none(kind), value, pointer, depth + 1):
                is_inner = True
                yield inner
            if not is_inner:
                yield self._own_error(kind, error, pointer)

    def _convert(self, kind: Any, value: Any) -> None:
        converted = msgspec.convert(value, kind, strict=self._strict, str_keys=True)
        if apply_limits := self._look_up(kind).apply_limits:
            apply_limits(converted)

    def _own_error(self, kind: Any, error: msgspec.ValidationError, pointer: str) -> FieldError:
        """Split msgspec's message, such as "Expected `int` - at `$[0].id`"."""
        message, _, path = str(error).partition(" - at `")
        for name, index in _path_parts(path.partition("[...]")[0]):
            pointer += f"/{index}" if index else pointer_to(name)
        described = "" if isinstance(error, LimitError) else self._describe(kind, error)
        return FieldError(pointer, described or message.replace("`", ""))

    def _inner_errors(
        self, kind: Any, value: Any, pointer: str, depth: int
    ) -> Iterator[FieldError]:
        origin, arguments = get_origin(kind) or kind, get_args(kind)
        if not isinstance(origin, type) or depth > MAX_DEPTH:
            return
        if isinstance(value, dict) and _is_struct(kind):
            yield from self._struct_errors(kind, value, pointer, depth)
        elif isinstance(value, dict) and issubclass(origin, Mapping) and len(arguments) == 2:
            for key, item in value.items():
                yield from self._errors(arguments[1], item, pointer + pointer_to(key), depth)
        elif isinstance(value, list) and issubclass(origin, Collection) and arguments:
            if origin is tuple and arguments[1:] != (...,):
                return
            for index, item in enumerate(value):
                yield from self._errors(arguments[0], item, f"{pointer}/{index}", depth)

    def _struct_errors(
        self, kind: Any, value: dict[str, Any], pointer: str, depth: int
    ) -> Iterator[FieldError]:
        config = kind.__struct_config__
        known = {field.encode_name: field for field in self._look_up(kind).fields}
        for name, field in known.items():
            inner = pointer + pointer_to(name)
            if name in value:
                yield from self._errors(field.type, value[name], inner, depth)
            elif field.required:
                missing = msgspec.ValidationError("is required")
                yield self._own_error(field.type, missing, inner)
        if config.tag_field and value.get(config.tag_field, config.tag) != config.tag:
            yield FieldError(pointer + pointer_to(config.tag_field), f"Expected {config.tag!r}")
        if config.forbid_unknown_fields:
            for name in value:
                if name not in known and name != config.tag_field:
                    yield FieldError(pointer + pointer_to(name), "is unknown")


class _KnownType(NamedTuple):
    kind: Any
    apply_limits: Callable[[Any], Any] | None
    fields: tuple[Any, ...]


def _is_struct(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, msgspec.Struct)


_path_parts = re.compile(r"\.([^.\[`]+)|\[(\d+)\]").findall


def _without_none(kind: Any) -> Any:
    """Return the type inside of Annotated and of `X | None`."""
    if get_origin(kind) is Annotated:
        return _without_none(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        others = [one for one in get_args(kind) if one is not NoneType]
        return _without_none(others[0]) if len(others) == 1 else kind
    return kind

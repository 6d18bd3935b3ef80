"""Examples of values, made from their types."""

from collections.abc import Iterator
from math import ceil
from typing import Annotated, Any

import msgspec
from msgspec import inspect

from ..http.validation import bare

__all__ = ["NO_EXAMPLE", "example_of"]

NO_EXAMPLE: Any = object()
# Texts that are tried for a type with a pattern.
TEXTS = (
    *("text", "a", "A", "1", "a1", "A1", "abc", "ABC", "123", "2026", "12345", "ABC-123", "text-1"),
    *("user@example.com", "https://example.com/", "/path", "12:30", "2026-12-31", "+441632960961"),
    *("DE", "de", "EUR", "10115", "192.0.2.1", "0123456789abcdef0123456789abcdef", "#0a0b0c"),
)
LIMITS = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern")
# Values by the type of the type.
FIXED: dict[type, Any] = {
    inspect.AnyType: "text",
    inspect.BoolType: True,
    inspect.NoneType: None,
    inspect.DateType: "2026-12-31",
    inspect.TimeDeltaType: "PT1H",
    inspect.UUIDType: "123e4567-e89b-42d3-a456-426614174000",
    inspect.DecimalType: "1.5",
    inspect.RawType: "text",
}


def example_of(kind: Any, *, complete: bool = True) -> Any:
    """Return decoded JSON that becomes a value of this type, or NO_EXAMPLE.

    `complete` includes the fields that have a default. An example of `Meta(examples=[…])` comes
    first; it is needed for a text with an unusual pattern.
    """
    try:
        example = _example(inspect.type_info(kind), complete, ())
        msgspec.convert(example, kind, str_keys=True)
    except (LookupError, msgspec.ValidationError):
        return NO_EXAMPLE
    return example


def _example(kind: Any, complete: bool, outer: tuple[Any, ...]) -> Any:
    """Return an example. Raises LookupError if there is none."""
    while isinstance(kind, inspect.Metadata):
        for example in (kind.extra_json_schema or {}).get("examples", ()):
            return example
        kind = kind.type
    if type(kind) in FIXED:
        return FIXED[type(kind)]
    match kind:
        case inspect.StrType():
            return _text(kind)
        case inspect.IntType() | inspect.FloatType():
            return _number(kind)
        case inspect.DateTimeType():
            return "2026-12-31T12:00:00" + ("" if kind.tz is False else "Z")
        case inspect.TimeType():
            return "12:00:00" + ("Z" if kind.tz else "")
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.EnumType():
            return next(iter(kind.cls)).value
        case inspect.BytesType() | inspect.ByteArrayType() | inspect.MemoryViewType():
            length = kind.min_length or 4
            return msgspec.to_builtins(b"t" * min(length, kind.max_length or length))
        case inspect.UnionType():
            # A value before null.
            for one in sorted(kind.types, key=lambda one: isinstance(bare(one), inspect.NoneType)):
                try:
                    return _example(one, complete, outer)
                except LookupError:
                    continue
            raise LookupError("no part of the union has an example")
        case inspect.CollectionType():
            return _items(kind, complete, outer)
        case inspect.TupleType():
            return [_example(one, complete, outer) for one in kind.item_types]
        case inspect.DictType():
            key = _example(kind.key_type, complete, outer)
            return {str(key): _example(kind.value_type, complete, outer)}
    if not hasattr(kind, "fields"):
        raise LookupError(f"no example for {kind}")
    return _object(kind, complete, outer)


def _object(kind: Any, complete: bool, outer: tuple[Any, ...]) -> Any:
    if kind.cls in outer:
        raise LookupError("the type contains itself")
    members: dict[str, Any] = {}
    if getattr(kind, "tag_field", None):
        members[kind.tag_field] = kind.tag
    is_array = isinstance(kind, inspect.NamedTupleType) or getattr(kind, "array_like", False)
    for field in kind.fields:
        if field.required or complete or is_array:
            try:
                members[field.encode_name] = _example(field.type, complete, (*outer, kind.cls))
            except LookupError:
                if field.required or is_array:
                    raise
    return [*members.values()] if is_array else members


def _items(kind: Any, complete: bool, outer: tuple[Any, ...]) -> list[Any]:
    try:
        item = _example(kind.item_type, complete, outer)
    except LookupError:
        if kind.min_length:
            raise
        return []
    return [item] * max(1, kind.min_length or 0) if kind.max_length != 0 else []


def _text(kind: inspect.StrType) -> str:
    for text in TEXTS if kind.pattern else TEXTS[:1]:
        if kind.min_length and len(text) < kind.min_length:
            text = (text * kind.min_length)[: kind.min_length]
        text = text[: kind.max_length]
        if _fits(text, kind):
            return text
    raise LookupError(f"no example for {kind.pattern}")


def _number(kind: Any) -> float:
    is_integer = isinstance(kind, inspect.IntType)
    for number in _numbers(kind, 1 if is_integer else 1.5):
        value = int(number) if is_integer else float(number)
        if _fits(value, kind):
            return value
    raise LookupError(f"no example for {kind}")


def _numbers(kind: Any, usual: float) -> Iterator[float]:
    low = kind.ge if kind.ge is not None else kind.gt
    high = kind.le if kind.le is not None else kind.lt
    yield usual
    step = kind.multiple_of or 1
    for bound in (low, high):
        if bound is not None:
            yield bound
            yield ceil(bound / step) * step
            yield ceil(bound / step) * step + step
            yield ceil(bound / step) * step - step
    if low is not None and high is not None:
        yield (low + high) / 2
    yield step


def _fits(value: Any, kind: Any) -> bool:
    limits = {name: getattr(kind, name, None) for name in LIMITS}
    try:
        msgspec.convert(value, Annotated[type(value), msgspec.Meta(**limits)])
    except msgspec.ValidationError:
        return False
    return True

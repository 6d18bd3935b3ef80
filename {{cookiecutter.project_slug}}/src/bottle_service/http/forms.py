"""HTML forms and queries: names and texts become the type that a handler declares."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

from .problems import FieldError
from .validation import NUL_MESSAGE, ErrorSearch, Limits, bare, choices, pointer_to

__all__ = ["FieldReader", "Form", "Pairs"]

Data = TypeVar("Data")
# Names with their texts or uploaded files, in the order in which they were sent.
Pairs = Iterable[tuple[str, Any]]


class Form(msgspec.Struct, Generic[Data], frozen=True):
    """A form that its handler can show again, with what was typed: `form: Form[LoanForm]`.

    `data` is the parsed form, or None if the form has errors. `values` are the texts as they were
    typed, by the names of the fields, without files; a field that is a list has a list. `errors`
    has a sentence for each invalid field; its name is empty if the form as a whole is invalid.
    `Form()` is the form of a page that nobody has filled in yet.
    """

    data: Data | None = None
    values: Mapping[str, str | list[str]] = {}
    errors: Mapping[str, str] = {}


class FieldReader:
    """Read the fields of a form or query, as HTML sends them, into one type.

    An empty value counts as absent where the type cannot be an empty text: an empty number, date
    or file. An absent field without a default is None, a checkbox that is not checked (False) or an
    empty list, if its type can be that. A checked one is `on`. Only lists may be repeated.

    A browser sends nothing for an unchecked box, so the type of a checkbox is `bool` without the
    default True.

    `<input type="datetime-local">` sends no time zone: its type has `Meta(tz=False)`.

    `required` are the names of the fields that must be sent.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._apply_limits = Limits(kind).apply
        self._search = ErrorSearch(kind, strict=False, describe=_required)
        self._fields: dict[str, _Field] = {}
        # What an absent field becomes, if it has no default.
        self._absent: list[tuple[str, Callable[[], Any]]] = []
        self.required: list[str] = []
        for field in getattr(bare(inspect.type_info(kind)), "fields", ()):
            self._fields[field.encode_name] = described = _describe(field.type)
            if field.required and described.absent:
                self._absent.append((field.encode_name, described.absent))
            elif field.required:
                self.required.append(field.encode_name)

    def read(self, pairs: Pairs) -> tuple[Any, list[FieldError]]:
        """Return the value, or None and the errors."""
        values, errors = self._collect(pairs)
        try:
            data = msgspec.convert(values, self._kind, strict=False)
            if self._apply_limits:
                data = self._apply_limits(data)
        except msgspec.ValidationError as error:
            known = {one.pointer for one in errors}
            found = self._search.find(values, error)
            errors += [one for one in found if one.pointer not in known]
        return (None if errors else data), errors

    def read_form(self, pairs: Pairs) -> Form[Any]:
        """Return the value, or the errors, together with the texts."""
        pairs = list(pairs)
        data, problems = self.read(pairs)
        values: dict[str, Any] = {}
        for name, value in pairs:
            if isinstance(value, str):
                if name in self._fields and self._fields[name].is_list:
                    values.setdefault(name, []).append(value)
                else:
                    values[name] = value
        errors: dict[str, str] = {}
        for problem in problems:
            name = problem.pointer[1:].partition("/")[0].replace("~1", "/").replace("~0", "~")
            message = problem.message
            # The pointer of a problem is its subject, which a form has not.
            errors.setdefault(name, f"This field {message}." if message[:1].islower() else message)
        return Form(data, values, errors)

    def _collect(self, pairs: Pairs) -> tuple[dict[str, Any], list[FieldError]]:
        """Return the values by their names, and what is wrong with the names and texts."""
        values: dict[str, Any] = {}
        errors = []
        for name, value in pairs:
            field = self._fields.get(name, _UNKNOWN)
            if value == "" and not field.can_be_empty:
                continue
            text = value if isinstance(value, str) else value.filename
            if "\0" in name or "\0" in text:
                errors.append(FieldError(pointer_to(name), NUL_MESSAGE))
            value = field.read(value)
            if field.is_list:
                values.setdefault(name, []).append(value)
            elif name in values:
                errors.append(FieldError(pointer_to(name), "is given more than once"))
            else:
                values[name] = value
        for name, absent in self._absent:
            if name not in values:
                values[name] = absent()
        return values, errors


class _Field(NamedTuple):
    """How HTML sends a field of one type; `read` returns what msgspec converts to this type."""

    is_list: bool = False
    can_be_empty: bool = True
    read: Callable[[Any], Any] = lambda value: value
    absent: Callable[[], Any] | None = None


_UNKNOWN = _Field()


def _describe(kind: inspect.Type) -> _Field:
    lists = [one for one in choices(kind) if isinstance(one, inspect.CollectionType)]
    kinds = [choice for one in lists for choice in choices(one.item_type)] or choices(kind)
    types = set(map(type, kinds))
    read = _UNKNOWN.read
    if inspect.StrType not in types:
        if inspect.BoolType in types:
            read = _read_checkbox
        elif types & {inspect.DateTimeType, inspect.TimeType}:
            read = _read_time
    absent: Callable[[], Any] | None = None
    if lists:
        absent = list
    elif any(map(_can_be_none, kinds)):
        absent = _none
    elif types == {inspect.BoolType}:
        absent = bool
    return _Field(bool(lists), any(map(_can_be_empty, kinds)), read, absent)


def _none() -> None:
    return None


def _can_be_none(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.LiteralType):
        return None in kind.values
    return isinstance(kind, inspect.NoneType)


def _can_be_empty(kind: inspect.Type) -> bool:
    """Return whether an empty text is a value of this type."""
    match kind:
        case inspect.StrType():
            return not kind.min_length and re.search(kind.pattern or "", "") is not None
        case inspect.LiteralType():
            return "" in kind.values
        case inspect.EnumType():
            return any(member.value == "" for member in kind.cls)
    return isinstance(kind, inspect.AnyType | inspect.BytesType | inspect.ByteArrayType)


_CHECKBOX = {"on": True, "off": False}


def _read_checkbox(value: Any) -> Any:
    return _CHECKBOX.get(value, value)


# HTML omits seconds that are zero, which RFC 3339 requires.
_lacks_seconds = re.compile(r"(?:.+T)?[0-9]{2}:[0-9]{2}").fullmatch


def _read_time(value: Any) -> Any:
    return f"{value}:00" if isinstance(value, str) and _lacks_seconds(value) else value


def _required(kind: Any, _error: msgspec.ValidationError) -> str:
    """Return a sentence for people that names the required values."""
    noun = _noun(inspect.type_info(kind))
    return f"{noun[0].upper()}{noun[1:]} is required." if noun else ""


def _noun(kind: Any) -> str:
    match kind:
        case inspect.Metadata():
            examples = (kind.extra_json_schema or {}).get("examples")
            if examples and isinstance(kind.type, inspect.StrType) and kind.type.pattern:
                return f"text such as {examples[0]}"
            return _noun(kind.type)
        case inspect.UnionType():
            nouns = [_noun(one) for one in kind.types if not isinstance(one, inspect.NoneType)]
            return " or ".join(dict.fromkeys(filter(None, nouns)))
        case inspect.StrType():
            suffix = " in the right format" if kind.pattern else ""
            return "text" + _length(kind, "character") + suffix
        case inspect.CollectionType():
            return "a list" + _length(kind, "value")
        case inspect.IntType():
            return "a whole number" + _range(kind)
        case inspect.FloatType():
            return "a number" + _range(kind)
        case inspect.DateTimeType():
            if kind.tz is False:
                return "a date and time such as 2026-12-31T23:30:00"
            return "a date and time with a time zone such as 2026-12-31T23:30:00Z"
        case inspect.LiteralType():
            return f"one of {', '.join(str(value) for value in kind.values if value is not None)}"
        case inspect.EnumType():
            return f"one of {', '.join(str(member.value) for member in kind.cls)}"
        case inspect.CustomType():
            return "a file"
    return _NOUNS.get(type(kind), "")


_NOUNS = {
    inspect.BoolType: "true or false",
    inspect.DecimalType: "a number",
    inspect.DateType: "a date such as 2026-12-31",
    inspect.TimeType: "a time such as 23:30",
    inspect.TimeDeltaType: "a duration such as PT90M",
    inspect.UUIDType: "a UUID",
    inspect.AnyType: "a value",
    inspect.BytesType: "a Base64 text",
}


def _length(kind: Any, unit: str) -> str:
    least, most = kind.min_length or None, kind.max_length
    if least is None and most is None:
        return ""
    number = f"at least {least}" if most is None else f"{least} to {most}"
    if least is None:
        number = f"at most {most}"
    return f" of {number} {unit}" + ("" if (most or least) == 1 else "s")


def _range(kind: Any) -> str:
    if kind.ge is not None and kind.le is not None:
        words = f" from {kind.ge} to {kind.le}"
    else:
        bounds = {
            "of at least": kind.ge,
            "greater than": kind.gt,
            "of at most": kind.le,
            "less than": kind.lt,
        }
        words = " and".join(
            f" {name} {bound}" for name, bound in bounds.items() if bound is not None
        )
    return words + (f" in steps of {kind.multiple_of}" if kind.multiple_of else "")

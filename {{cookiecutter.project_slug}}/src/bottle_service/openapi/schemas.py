"""JSON Schemas of the types of requests and results, as OpenAPI 3.1 has them."""

import re
from collections.abc import Iterator
from inspect import cleandoc
from itertools import chain
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect

from ..http.parsers import Upload
from ..http.validation import DECIMAL, LARGEST_INTEGER, SMALLEST_INTEGER, bare, reachable
from ..startup import StartupProblem

__all__ = ["BASE64", "DECIMAL", "DURATION", "NO_NUL", "REFERENCE", "TIME", "Schema", "Schemas"]

REFERENCE = "#/components/schemas/"
NO_NUL = r"^[^\x00]*$"
DURATION = (
    r"^-?P(?:[0-9]{1,8}D(?:T(?:[0-9]{1,6}H)?(?:[0-9]{1,6}M)?[0-9]{1,6}(?:\.[0-9]{1,6})?S)?"
    r"|T(?:[0-9]{1,6}H)?(?:[0-9]{1,6}M)?[0-9]{1,6}(?:\.[0-9]{1,6})?S)$"
)
TIME = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?$"
BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
NAMED = (
    inspect.StructType
    | inspect.DataclassType
    | inspect.TypedDictType
    | inspect.NamedTupleType
    | inspect.EnumType
)

Schema = dict[str, Any]


class Schemas:
    """The schemas of types, which are added first and then described together.

    msgspec describes the types. Added are the rules of bottle_service.http.validation: integers of
    64 bits, texts without NUL, times with a time zone.
    """

    def __init__(self) -> None:
        self._kinds: list[Any] = []
        self._received: set[int] = set()
        self._schemas: list[Schema] = []
        # The schemas of named types, by their names.
        self.components: dict[str, Schema] = {}

    def add(self, kind: Any, *, received: bool) -> int:
        """Return the number of the type; `received` says that requests have it."""
        if received:
            self._received.add(len(self._kinds))
        self._kinds.append(kind)
        return len(self._kinds) - 1

    def __getitem__(self, number: int) -> Schema:
        return self._schemas[number]

    def resolve(self, schema: Schema) -> Schema:
        """Return the schema that this one refers to, or itself."""
        name = schema.get("$ref", "").removeprefix(REFERENCE)
        return self.components.get(name, schema)

    def describe(self) -> Iterator[StartupProblem]:
        """Make the schemas. Yields the types whose names are equal; then there are no schemas."""
        kinds = inspect.multi_type_info(self._kinds)
        parts = [reachable(kind) for kind in kinds]
        named = {part.cls: part for part in chain(*parts) if isinstance(part, NAMED)}
        first: dict[str, Any] = {}
        for cls in named:
            other = first.setdefault(_name(cls), cls)
            if other is not cls:
                reason = f"has the same name as {_full_name(other)} in openapi.json; rename one"
                yield StartupProblem("", reason, _full_name(cls))
        if len(first) < len(named):
            return
        schemas, self.components = msgspec.json.schema_components(
            [*self._kinds, *named], schema_hook=_describe_custom, ref_template=REFERENCE + "{name}"
        )
        self._schemas = list(schemas[: len(kinds)])
        received = {
            part.cls
            for number in self._received
            for part in parts[number]
            if isinstance(part, NAMED)
        }
        for number, kind in enumerate(kinds):
            _complete(kind, self._schemas[number], is_received=number in self._received)
        for kind, schema in zip(named.values(), schemas[len(kinds) :], strict=True):
            component = self.resolve(schema)
            _complete_parts(kind, component, is_received=kind.cls in received)
            if "description" in component:  # a docstring with its indentation
                component["description"] = cleandoc(component["description"])


def _name(cls: Any) -> str:
    """Return the name of a class or of a generic type, such as Page_Note_."""
    parameters = ", ".join(getattr(one, "__name__", repr(one)) for one in get_args(cls))
    name = (get_origin(cls) or cls).__name__ + (f"[{parameters}]" if parameters else "")
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)


def _full_name(cls: Any) -> str:
    return f"{cls.__module__}.{getattr(cls, '__qualname__', cls)}"


def _describe_custom(cls: type) -> Schema:
    if cls is Upload:
        # `format` is for generators of clients that read OpenAPI 3.0, too.
        return {
            "type": "string",
            "format": "binary",
            "contentMediaType": "application/octet-stream",
        }
    return {"title": cls.__name__}


def _complete(kind: Any, schema: Schema, *, is_received: bool) -> None:
    """Add the limits of the service, which msgspec does not know, to a schema without a name."""
    kind = bare(kind)
    if "$ref" in schema:
        return
    match kind:
        case inspect.IntType():
            schema.setdefault("format", "int64")
            if is_received:
                if "exclusiveMinimum" not in schema:
                    schema.setdefault("minimum", SMALLEST_INTEGER)
                if "exclusiveMaximum" not in schema:
                    schema.setdefault("maximum", LARGEST_INTEGER)
        case inspect.DateTimeType():
            schema.setdefault("format", "date-time-local" if kind.tz is False else "date-time")
        case inspect.TimeType() if not kind.tz:
            schema["format"] = "time-local"
            schema.setdefault("pattern", TIME)
        case inspect.TimeDeltaType():
            # The format `duration` has years, which msgspec rejects, and no fractions.
            schema.pop("format", None)
            schema.setdefault("pattern", DURATION)
        case inspect.DecimalType():
            schema.setdefault("pattern", DECIMAL)
        case inspect.BytesType() | inspect.ByteArrayType() | inspect.MemoryViewType():
            schema.setdefault("pattern", BASE64)
        case inspect.StrType() if is_received:
            schema.setdefault("pattern", NO_NUL)
        case _:
            if isinstance(kind, inspect.SetType | inspect.FrozenSetType) and is_received:
                schema.pop("uniqueItems", None)  # equal ones are dropped
            _complete_parts(kind, schema, is_received=is_received)


def _complete_parts(kind: Any, schema: Schema, *, is_received: bool) -> None:
    for part, inner in _parts(kind, schema):
        _complete(part, inner, is_received=is_received)


def _parts(kind: Any, schema: Schema) -> Iterator[tuple[Any, Schema]]:
    """Yield the parts of a type, each with its schema."""
    match kind:
        case inspect.UnionType():
            # msgspec puts structures, which have names, and null behind all others.
            others = [
                one
                for one in map(bare, kind.types)
                if not isinstance(one, inspect.StructType | inspect.NoneType)
            ]
            yield from zip(others, schema.get("anyOf", ()), strict=False)
        case inspect.CollectionType() if "items" in schema:
            yield kind.item_type, schema["items"]
        case inspect.DictType():
            if isinstance(schema.get("additionalProperties"), dict):
                yield kind.value_type, schema["additionalProperties"]
            if isinstance(bare(kind.key_type), inspect.StrType):
                yield kind.key_type, schema.setdefault("propertyNames", {})
        case inspect.TupleType():
            yield from zip(kind.item_types, schema.get("prefixItems", ()), strict=True)
        case _ if "properties" in schema:
            for field in kind.fields:
                if field.encode_name in schema["properties"]:
                    yield field.type, schema["properties"][field.encode_name]
        case _ if "prefixItems" in schema:  # a structure that is sent as an array
            items = schema["prefixItems"]
            types = [field.type for field in kind.fields]
            yield from zip(types, items[len(items) - len(types) :], strict=True)

"""The page /docs: each operation with a curl command, parameters and an example. It has no script."""

import json
import shlex
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from bottle import SimpleTemplate
from msgspec import Meta

from ..http.forms import FieldReader
from ..http.parsers import Upload
from ..http.validation import LARGEST_INTEGER, SMALLEST_INTEGER
from ..views import headers_with_style
from .document import Document, Operation
from .examples import NO_EXAMPLE, example_of
from .schemas import BASE64, DECIMAL, DURATION, NO_NUL, TIME, Schema

__all__ = ["headers", "render"]

DIRECTORY = Path(__file__).parent
TOKENS = {"token": "$TOKEN", "session": "$TOKEN", "admin": "$ADMIN_TOKEN"}


class Row(NamedTuple):
    """A parameter, or a field of a body."""

    name: str
    place: str
    words: str
    is_required: bool
    description: str


class Section(NamedTuple):
    """An operation as the page shows it; a text is empty if there is nothing to show."""

    operation: Operation
    command: str
    rows: list[Row]
    responses: list[tuple[str, str]]
    example: str


def headers() -> dict[str, str]:
    """Return the headers of the page."""
    return headers_with_style(_style())


def render(document: Document, url_prefix: str) -> str:
    """Return the page as HTML."""
    content = document.content
    tags = {tag["name"]: tag.get("description", "") for tag in content["tags"]}
    # The API comes before pages and health checks.
    api = {one.tag for one in document.operations if one.path.startswith("/api/")}
    order = sorted(tags, key=lambda tag: tag not in api)
    sections = [_section(document, operation) for operation in document.operations]
    sections.sort(key=lambda section: order.index(section.operation.tag))
    groups = groupby(sections, key=lambda section: section.operation.tag)
    template = SimpleTemplate(source=(DIRECTORY / "page.tpl").read_text(encoding="utf-8"))
    text: str = template.render(
        style=_style(),
        info=content["info"],
        url_prefix=url_prefix,
        schemes=[*content["components"]["securitySchemes"]],
        groups=[(tag, tags[tag], [*group]) for tag, group in groups],
    )
    return text


def _style() -> str:
    return (DIRECTORY / "page.css").read_text(encoding="utf-8")


def _section(document: Document, operation: Operation) -> Section:
    shared = document.content["components"]["responses"]
    responses = []
    for status, response in operation.content["responses"].items():
        name = response.get("$ref", "").rpartition("/")[2]
        responses.append((status, shared.get(name, response)["description"]))
    example = NO_EXAMPLE if operation.result is None else example_of(operation.result)
    return Section(
        operation,
        _command(operation),
        [*_rows(document, operation)],
        responses,
        "" if example is NO_EXAMPLE else json.dumps(example, indent=2, ensure_ascii=False),
    )


def _command(operation: Operation) -> str:
    """Return the curl command that calls the operation; empty if a value has no example."""
    words = ["curl"]
    if operation.method == "HEAD":
        words.append("--head")
    elif operation.method != "GET":
        words += ["-X", operation.method]
    if operation.schemes:
        words.append(f'-H "Authorization: Bearer {TOKENS[operation.schemes[0]]}"')
    path, query = operation.path, []
    for parameter in operation.parameters:
        if parameter["in"] != "path" and not parameter.get("required"):
            continue
        name, value = parameter["name"], _value(parameter, operation)
        if value is NO_EXAMPLE:
            return ""
        if parameter["in"] == "path":
            path = path.replace("{" + name + "}", quote(value))
        elif parameter["in"] == "query":
            query.append((name, value))
        else:
            words.append(f"-H {shlex.quote(f'{name}: {value}')}")
    if operation.is_form:
        for name, value in _form_values(operation):
            if value is NO_EXAMPLE:
                return ""
            words.append(f"-F {shlex.quote(f'{name}={value}')}")
    elif operation.body is bytes:
        kind = operation.route.config.get("consumes", "application/octet-stream")
        words += [f"-H 'Content-Type: {kind}'", "--data-binary @FILE"]
    elif operation.body is not None:
        body = example_of(operation.body, complete=False)
        if body is NO_EXAMPLE:
            return ""
        text = json.dumps(body, ensure_ascii=False)
        words += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(text)}"]
    target = path + (f"?{urlencode(query)}" if query else "")
    return " ".join([*words, f'"$URL"{shlex.quote(target)}'])


def _value(parameter: Schema, operation: Operation) -> Any:
    """Return an example of a parameter as a text, or NO_EXAMPLE."""
    schema = parameter["schema"]
    if "example" in parameter:
        return _text(parameter["example"])
    if parameter["in"] == "query" and "query" in operation.types:
        example = example_of(operation.types["query"], complete=False)
        return example if example is NO_EXAMPLE else _text(example[parameter["name"]])
    if schema.get("type") != "string":
        return "1"
    return example_of(Annotated[str, Meta(pattern=schema.get("pattern", ""))])


def _form_values(operation: Operation) -> Iterator[tuple[str, Any]]:
    required = FieldReader(operation.body).required
    for field in msgspec.structs.fields(operation.body):
        if field.encode_name in required:
            example = "@FILE" if field.type is Upload else example_of(field.type, complete=False)
            yield field.encode_name, example if example is NO_EXAMPLE else _text(example)


def _text(value: Any) -> str:
    """Return a value as a query or form has it; of a list, the first one."""
    if isinstance(value, list):
        return _text(value[0])
    return value if isinstance(value, str) else json.dumps(value)


def _rows(document: Document, operation: Operation) -> Iterator[Row]:
    for parameter in operation.parameters:
        yield Row(
            parameter["name"],
            parameter["in"],
            _words(document, parameter["schema"]),
            bool(parameter.get("required")),
            parameter.get("description", ""),
        )
    for media in operation.content.get("requestBody", {}).get("content", {}).values():
        schema = document.resolve(media.get("schema", {}))
        for name, one in schema.get("properties", {}).items():
            is_required = name in schema.get("required", ())
            place = "form" if operation.is_form else "body"
            yield Row(name, place, _words(document, one), is_required, one.get("description", ""))
        break  # every media type has the same fields


def _words(document: Document, schema: Schema) -> str:
    """Return a schema in a few words."""
    default = schema.get("default")
    default = f", default {json.dumps(default)}" if default not in (None, "", []) else ""
    if "$ref" in schema:
        schema = document.resolve(schema)
        if "enum" not in schema:
            return f"{schema.get('title', 'object')}{default}"
    if "enum" in schema:
        return " or ".join(json.dumps(one, ensure_ascii=False) for one in schema["enum"]) + default
    if "anyOf" in schema:
        return " or ".join(_words(document, one) for one in schema["anyOf"]) + default
    if isinstance(schema.get("items"), dict):  # False for a tuple
        return f"list of {_words(document, schema['items'])}{default}"
    kind = schema.get("format") if schema.get("type") == "string" else None
    kind = _PATTERNS.get(schema.get("pattern", ""), kind)
    return f"{kind or schema.get('type', 'any value')}{_limits(schema)}{default}"


_PATTERNS = {
    BASE64: "base64",
    DECIMAL: "decimal",
    DURATION: "duration such as PT90S",
    TIME: "time such as 23:30:00",
}


def _limits(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    # The bounds of 64 bits are those of every integer.
    low = None if low == SMALLEST_INTEGER else low
    high = None if high == LARGEST_INTEGER else high
    words = _range("", low, high, "")
    for name, relation in (("exclusiveMinimum", "greater than"), ("exclusiveMaximum", "less than")):
        if name in schema:
            words += f" {relation} {schema[name]}"
    if "multipleOf" in schema:
        words += f" in steps of {schema['multipleOf']}"
    words += _range("of ", schema.get("minLength"), schema.get("maxLength"), " characters")
    if schema.get("pattern") not in (None, NO_NUL, *_PATTERNS):
        words += f", pattern {schema['pattern']}"
    return words


def _range(before: str, low: float | None, high: float | None, unit: str) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f" {before}at least {low}{unit}"
    return f" {before}at most {high}{unit}" if low is None else f" {before}{low} to {high}{unit}"

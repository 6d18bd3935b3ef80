"""Parse the body, form or query of a request into the type that a handler declares."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec
import multipart

from .problems import Environ, FieldError, Problem

__all__ = ["Parser", "Upload", "close_form", "parse_form", "parse_json", "parse_query"]

Parser = Callable[[Environ], Any]
# A file of a form; it is closed when the handler has returned.
Upload: TypeAlias = multipart.MultipartPart


def parse_json(kind: Any) -> Parser:
    """Return a parser of JSON bodies of this type.

    The parser raises Problem: 415 for another content type, 400 for a body that is not JSON, 422
    for JSON of another shape.
    """
    decoder = msgspec.json.Decoder(kind)

    def parse(environ: Environ) -> Any:
        content_type = environ.get("CONTENT_TYPE", "")
        if content_type != "application/json" and _media_type(content_type) != "application/json":
            raise Problem(415, "The body must be application/json.")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        if len(body) < length:
            raise Problem(400, "The body ended before its Content-Length.")
        try:
            try:
                return decoder.decode(body)
            except msgspec.ValidationError as error:
                raise _invalid("body", error, kind, msgspec.json.decode(body)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, f"The body is not JSON: {error}.") from None

    return parse


def parse_query(kind: Any) -> Parser:
    """Return a parser of query strings into this type, whose fields are values or lists.

    The parser raises Problem: 400 for a malformed query string, 422 for an invalid parameter, or
    for one that is repeated and not a list.
    """
    convert = _converter("query", kind)

    def parse(environ: Environ) -> Any:
        text = environ.get("QUERY_STRING", "")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError:
            raise Problem(400, "The query string is not UTF-8 or has too many fields.") from None
        return convert(pairs)

    return parse


def parse_form(kind: Any) -> Parser:
    """Return a parser of HTML forms into this type, whose fields are values, Upload or lists.

    The parser stores the parts of a form in the environ as `service.form_parts`, for `close_form`.
    It raises Problem: 415 for another content type, 400 for a malformed form, 422 for an invalid
    field.
    """
    convert = _converter("form", kind)

    def parse(environ: Environ) -> Any:
        media_type = _media_type(environ.get("CONTENT_TYPE", ""))
        if media_type not in ("multipart/form-data", "application/x-www-form-urlencoded"):
            raise Problem(415, "The body must be a form: multipart or urlencoded.")
        try:
            texts, files = multipart.parse_form_data(
                environ, strict=True, part_limit=100, headersize_limit=4096, memory_limit=2**30
            )
            environ["service.form_parts"] = parts = list(files.iterallitems())
            # `multipart` returns a text over 64 KiB as a file without a name.
            pairs = [(name, part if part.filename else part.value) for name, part in parts]
            pairs += texts.iterallitems()
            # The charset utf-7 can spell lone surrogates, which cannot be encoded.
            "".join(f"{name}{getattr(value, 'filename', value)}" for name, value in pairs).encode()
        except (ValueError, LookupError) as error:
            raise Problem(400, f"The form is malformed: {error}.") from None
        return convert(pairs)

    return parse


def close_form(environ: Environ) -> None:
    """Close the uploaded files of the request."""
    for _, part in environ.get("service.form_parts", ()):
        part.close()


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _converter(source: str, kind: Any) -> Callable[[list[tuple[str, Any]]], Any]:
    """Return a converter of names and values to this type; only lists may be repeated."""
    fields = getattr(msgspec.inspect.type_info(kind), "fields", ())
    lists = {field.encode_name for field in fields if _may_be_list(field.type)}

    def convert(pairs: list[tuple[str, Any]]) -> Any:
        values: dict[str, Any] = {}
        for name, value in pairs:
            if name in lists:
                values.setdefault(name, []).append(value)
            elif name in values:
                error = FieldError(_pointer(name), "is given more than once")
                raise Problem(422, f"The {source} is invalid.", errors=[error])
            else:
                values[name] = value
        try:
            return msgspec.convert(values, kind, strict=False)
        except msgspec.ValidationError as error:
            raise _invalid(source, error, kind, values) from None

    return convert


def _may_be_list(kind: Any) -> bool:
    kind = getattr(kind, "type", kind)  # the type inside of Annotated
    kinds = getattr(kind, "types", [kind])
    return any(isinstance(one, msgspec.inspect.CollectionType) for one in kinds)


def _invalid(source: str, error: msgspec.ValidationError, kind: Any, values: Any) -> Problem:
    """Return a 422 that names every invalid field; msgspec stops at the first."""
    errors = list(_field_errors(kind, values, strict=source == "body"))
    return Problem(422, f"The {source} is invalid.", errors=errors or [_field_error("", error)])


def _field_errors(kind: Any, values: Any, strict: bool) -> Iterator[FieldError]:
    if not isinstance(values, dict) or not isinstance(kind, type(msgspec.Struct)):
        return
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in known.items():
        try:
            if name in values:
                msgspec.convert(values[name], field.type, strict=strict, str_keys=True)
            elif field.required:
                yield FieldError(f"/{name}", "is required")
        except msgspec.ValidationError as error:
            yield _field_error(f"/{name}", error)
    if kind.__struct_config__.forbid_unknown_fields:
        for name in values.keys() - known.keys():
            yield FieldError(_pointer(name), "is unknown")


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _field_error(pointer: str, error: msgspec.ValidationError) -> FieldError:
    """Split msgspec's message, such as "Expected `int` - at `$[0].id`", into pointer and reason."""
    message, _, path = str(error).partition(" - at `$")
    inner = path.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/")
    return FieldError(pointer + inner, message.replace("`", ""))

"""What a client sends, read into the type that a handler asks for."""

from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec
import multipart

from .problems import Environ, FieldError, Problem

Reader = Callable[[Environ], Any]
# A file of a form; it is closed when the handler has returned.
Upload: TypeAlias = multipart.MultipartPart


def json_body(kind: Any) -> Reader:
    """Return a reader of a JSON body of that type.

    It raises Problem: 415 for another content type, 400 for what is not JSON, 422 for JSON of
    another shape.
    """
    decoder = msgspec.json.Decoder(kind)

    def read(environ: Environ) -> Any:
        media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
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

    return read


def query(kind: Any) -> Reader:
    """Return a reader of the query string into that type, whose fields are values or lists.

    It raises Problem: 400 for what is no query string, 422 for a wrong parameter, or a repeated
    one that is no list.
    """
    convert = _converter("query", kind)

    def read(environ: Environ) -> Any:
        text = environ.get("QUERY_STRING", "")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError:
            raise Problem(400, "The query string is not UTF-8 or has too many fields.") from None
        return convert(pairs)

    return read


def form(kind: Any) -> Reader:
    """Return a reader of an HTML form into that type, whose fields are values, Upload or lists.

    The parts of a form stay in the environ as `service.parts`, for `close_form`. It raises
    Problem: 415 for another content type, 400 for a malformed form, 422 for a wrong field.
    """
    convert = _converter("form", kind)

    def read(environ: Environ) -> Any:
        media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if media_type not in ("multipart/form-data", "application/x-www-form-urlencoded"):
            raise Problem(415, "The body must be a form: multipart or urlencoded.")
        try:
            texts, files = multipart.parse_form_data(
                environ, strict=True, part_limit=100, headersize_limit=4096, memory_limit=2**30
            )
            environ["service.parts"] = parts = list(files.iterallitems())
            # A text of more than 64 KiB comes as a file without a name.
            pairs = [(name, part if part.filename else part.value) for name, part in parts]
            pairs += texts.iterallitems()
            "".join(f"{name}{getattr(value, 'filename', value)}" for name, value in pairs).encode()
        except (ValueError, LookupError) as error:  # utf-7 can spell lone surrogates
            raise Problem(400, f"The form is malformed: {error}.") from None
        return convert(pairs)

    return read


def close_form(environ: Environ) -> None:
    for _, part in environ.get("service.parts", ()):
        part.close()


def _converter(what: str, kind: Any) -> Callable[[list[tuple[str, Any]]], Any]:
    """Return what makes that type of names and values; a name may be repeated if it is a list."""
    fields = getattr(msgspec.inspect.type_info(kind), "fields", ())
    lists = {field.encode_name for field in fields if _may_be_list(field.type)}

    def convert(pairs: list[tuple[str, Any]]) -> Any:
        values: dict[str, Any] = {}
        for name, value in pairs:
            if name in lists:
                values.setdefault(name, []).append(value)
            elif name in values:
                twice = FieldError(_pointer(name), "is given more than once")
                raise Problem(422, f"The {what} is not as it should be.", errors=[twice])
            else:
                values[name] = value
        try:
            return msgspec.convert(values, kind, strict=False)
        except msgspec.ValidationError as error:
            raise _invalid(what, error, kind, values) from None

    return convert


def _may_be_list(kind: Any) -> bool:
    kind = getattr(kind, "type", kind)  # below what only documents it
    kinds = getattr(kind, "types", [kind])
    return any(isinstance(one, msgspec.inspect.CollectionType) for one in kinds)


def _invalid(what: str, error: msgspec.ValidationError, kind: Any, values: Any) -> Problem:
    """Return a 422 that names every wrong field; msgspec stops at the first."""
    errors = list(_field_errors(kind, values, strict=what == "body")) or [_field_error("", error)]
    return Problem(422, f"The {what} is not as it should be.", errors=errors)


def _field_errors(kind: Any, values: Any, strict: bool) -> Any:
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
            yield FieldError(_pointer(name), "is not known")


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _field_error(pointer: str, error: msgspec.ValidationError) -> FieldError:
    """Split msgspec's message, as in "Expected `int` - at `$[0].id`", into place and reason."""
    message, _, place = str(error).partition(" - at `$")
    inner = place.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/")
    return FieldError(pointer + inner, message.replace("`", ""))

"""Parse the body, form or query of a request into the type that a handler declares."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, TypeAlias, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
import multipart
from msgspec import inspect

from .forms import FieldReader, Form
from .problems import Environ, FieldError, Problem
from .validation import ErrorSearch, Limits, bare, choices, nul_errors

__all__ = [
    "Parser",
    "Upload",
    "close_form",
    "field_names",
    "parse_body",
    "parse_form",
    "parse_query",
]

Parser = Callable[[Environ], Any]
# A file of a form; it is closed when the handler has returned.
Upload: TypeAlias = multipart.MultipartPart


def parse_body(kind: Any, content_type: str | None = None) -> Parser:
    """Return a parser of JSON bodies of this type, or for `bytes` of bodies of this content type.

    Without a content type, the parser of bytes takes each. It raises Problem 415 for another one,
    and for an encoded body. The parser of JSON raises Problem: 415 for another content type or an encoded body, 400 for a body that
    is not JSON, 422 for JSON of another shape, and for values that a database cannot store.
    """
    if kind is bytes:
        return _bytes_parser(content_type)
    kinds = choices(inspect.type_info(kind))
    if any(isinstance(one, inspect.BytesType | inspect.ByteArrayType) for one in kinds):
        raise TypeError("parameter 'body' must be `body: bytes`; max_body limits its length")
    decode = msgspec.json.Decoder(kind).decode
    apply_limits = Limits(kind).apply
    search = ErrorSearch(kind, strict=True)

    def parse(environ: Environ) -> Any:
        content_type = environ.get("CONTENT_TYPE", "")
        if content_type != "application/json" and not _is_json(_media_type(content_type)):
            raise Problem(415, "The body must be application/json.")
        body = _read_body(environ)
        try:
            try:
                value = decode(body)
                if apply_limits:
                    value = apply_limits(value)
            except msgspec.ValidationError as error:
                raise _invalid("body", _find_errors(search, body, error)) from None
            # The only spelling of NUL in JSON; behind a backslash it is another text.
            nul = list(nul_errors(msgspec.json.decode(body))) if b"\\u0000" in body else []
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, f"The body is not JSON: {error}.") from None
        if nul:
            raise _invalid("body", nul)
        return value

    return parse


def _read_body(environ: Environ) -> bytes:
    """Return the body. Raises Problem: 415 if it is encoded, 400 if a part of it is missing."""
    _check_content_encoding(environ)
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body: bytes = environ["wsgi.input"].read(length)
    if len(body) < length:
        raise Problem(400, "The body ended before its Content-Length.")
    return body


def _find_errors(
    search: ErrorSearch, body: bytes, error: msgspec.ValidationError
) -> list[FieldError]:
    """Return the errors of a JSON body. Raises DecodeError if it is malformed after the first."""
    try:
        value = msgspec.json.decode(body)
    except msgspec.ValidationError:  # it contains a number that is too large for Python's float
        return search.first(error)
    return search.find(value, error)


def parse_query(kind: Any) -> Parser:
    """Return a parser of query strings into this type, whose fields are values or lists.

    The parser raises Problem: 400 for a malformed query string, 422 for an invalid parameter, or
    for one that is repeated and not a list.
    """
    read = FieldReader(kind).read

    def parse(environ: Environ) -> Any:
        text = environ.get("QUERY_STRING", "")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError:
            raise Problem(400, "The query string is not UTF-8 or has too many fields.") from None
        data, errors = read(pairs)
        if errors:
            raise _invalid("query", errors)
        return data

    return parse


def parse_form(kind: Any) -> Parser:
    """Return a parser of HTML forms into this type, whose fields are values, Upload or lists.

    The parser stores the files of a form in the environ as `service.form_files`, for `close_form`.
    It raises Problem: 415 for another content type or an encoded body, 400 for a malformed form,
    422 for an invalid field. For the type `Form[…]` it returns invalid fields instead.
    """
    if kind is Form:
        raise TypeError("Form has no type; write the type of its data, as in Form[LoanForm]")
    returns_errors = get_origin(kind) is Form
    reader = FieldReader(get_args(kind)[0] if returns_errors else kind)

    def parse(environ: Environ) -> Any:
        media_type = _media_type(environ.get("CONTENT_TYPE", ""))
        if media_type not in ("multipart/form-data", "application/x-www-form-urlencoded"):
            raise Problem(415, "The body must be a form: multipart or urlencoded.")
        _check_content_encoding(environ)
        try:
            if media_type == "multipart/form-data":
                pairs = list(_multipart_pairs(environ))
            else:
                texts, _ = multipart.parse_form_data(
                    environ, strict=True, part_limit=100, memory_limit=2**30
                )
                pairs = list(texts.iterallitems())
            # The charset utf-7 can spell lone surrogates, which cannot be encoded.
            "".join(f"{name}{getattr(value, 'filename', value)}" for name, value in pairs).encode()
        except (ValueError, LookupError) as error:
            raise Problem(400, f"The form is malformed: {error}.") from None
        if returns_errors:
            return reader.read_form(pairs)
        data, errors = reader.read(pairs)
        if errors:
            raise _invalid("form", errors)
        return data

    return parse


def field_names(kind: Any) -> dict[str, str]:
    """Return the names that clients send, by those of the fields of this body, form or query."""
    root = bare(inspect.type_info(get_args(kind)[0] if get_origin(kind) is Form else kind))
    kinds = root.types if isinstance(root, inspect.UnionType) else [root]
    fields = [field for one in kinds for field in getattr(bare(one), "fields", ())]
    return {field.name: field.encode_name for field in fields}


def _multipart_pairs(environ: Environ) -> Iterator[tuple[str, Any]]:
    """Yield the names with their texts and files, in the order in which they were sent.

    `multipart.parse_form_data` would return a text over 64 KiB as a file, and after all others.
    """
    files = environ["service.form_files"] = []
    _, options = multipart.parse_options_header(environ["CONTENT_TYPE"])
    if not options.get("boundary"):
        raise ValueError("boundary is missing")
    parser = multipart.MultipartParser(
        environ["wsgi.input"],
        options["boundary"],
        int(environ.get("CONTENT_LENGTH") or 0),
        options.get("charset", "utf8"),
        strict=True,
        part_limit=100,
        headersize_limit=4096,
        memory_limit=2**30,
    )
    for part in parser:
        # A browser sends a file input without a file as an empty file without a name.
        if part.filename or (part.filename is not None and part.size):
            files.append(part)
            yield part.name, part
        else:
            with closing(part):
                text = part.value
            yield part.name, text


def close_form(environ: Environ) -> None:
    """Close the uploaded files of the request."""
    for part in environ.get("service.form_files", ()):
        part.close()


def _bytes_parser(content_type: str | None) -> Parser:
    def parse(environ: Environ) -> bytes:
        if content_type and _media_type(environ.get("CONTENT_TYPE", "")) != content_type.lower():
            raise Problem(415, f"The body must be {content_type}.")
        return _read_body(environ)

    return parse


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    """Return whether this is JSON, also of a further format such as application/merge-patch+json.

    https://www.rfc-editor.org/rfc/rfc6839#section-3.1
    """
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def _check_content_encoding(environ: Environ) -> None:
    """Reject a compressed body; the response names what is accepted (RFC 9110, section 12.5.3)."""
    codings = environ.get("HTTP_CONTENT_ENCODING")
    if codings and codings.strip().lower() != "identity":
        headers = {"Accept-Encoding": "identity"}
        raise Problem(415, "The body must not have a Content-Encoding.", headers=headers)


def _invalid(source: str, errors: list[FieldError]) -> Problem:
    return Problem(422, f"The {source} is invalid.", errors=errors)

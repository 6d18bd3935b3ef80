"""Reject or repair requests that Bottle would misread."""

import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .body_limit import too_large
from .problems import Environ, Problem, WSGIApp

__all__ = ["SanitizeRequestMiddleware"]

_find_control_character = re.compile("[\x00-\x1f\x7f-\x9f]").search
# A name=value pair of a Cookie header (RFC 6265, section 4.1.1). Python rejects a leading $.
_is_cookie_pair = re.compile(
    r'(?!\$)[!#$%&\'*+.^_`|~0-9A-Za-z-]+="?[!#-+\--:<-\[\]-~]*"?'
).fullmatch


class SanitizeRequestMiddleware:
    """WSGI middleware that rejects ambiguous paths and large bodies, and repairs headers.

    Bottle drops the bytes of a path that are not UTF-8, so `/adm%ffin` would reach a route that a
    proxy guards as `/admin`. Its route patterns match before a trailing newline. It responds with
    500 to a header or a cookie that it cannot decode, so invalid parts are removed.

    `largest_body`, in bytes, is the largest limit of all routes; BodyLimitPlugin checks lower ones.
    """

    def __init__(self, app: WSGIApp, largest_body: int) -> None:
        self._app = app
        self._largest_body = largest_body

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        # Printable ASCII contains no control characters.
        if not (path.isascii() and path.isprintable() and path.startswith("/")):
            _check_path(path)
        for value in environ.values():
            if type(value) is str and not value.isascii():
                _repair_headers(environ)
                break
        if cookies := environ.get("HTTP_COOKIE"):
            pairs = (pair.strip() for pair in cookies.split(";"))
            environ["HTTP_COOKIE"] = "; ".join(filter(_is_cookie_pair, pairs))
        if "HTTP_TRANSFER_ENCODING" in environ:
            self._decode_chunks(environ)
        elif length := environ.get("CONTENT_LENGTH"):
            if not (length.isascii() and length.isdigit() and len(length) < 16):
                raise Problem(400, "Content-Length is not a number.")
            if int(length) > self._largest_body:
                raise too_large(self._largest_body)
            environ["wsgi.input"] = RequestBody(environ["wsgi.input"])
        return self._app(environ, start_response)

    def _decode_chunks(self, environ: Environ) -> None:
        """Replace a chunked body by its content, in memory: behind Nginx no body is chunked.

        Servers decode the chunks and leave the header, so that Bottle would decode them again.
        """
        if not environ.get("wsgi.input_terminated"):
            raise Problem(411, "A body needs a Content-Length here.")
        source = RequestBody(environ["wsgi.input"])
        body = io.BytesIO()
        while chunk := source.read(2**16):
            body.write(chunk)
            if body.tell() > self._largest_body:
                raise too_large(self._largest_body)
        del environ["HTTP_TRANSFER_ENCODING"]
        environ["CONTENT_LENGTH"] = str(body.tell())
        body.seek(0)
        environ["wsgi.input"] = body


class RequestBody:
    """The stream of a request's body, with the methods that PEP 3333 requires.

    An error while reading it is the client's (400).
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> Any:
        return self._read(self._stream.read, size)

    def readline(self, size: int = -1) -> Any:
        # uWSGI has no negative size.
        return self._read(self._stream.readline, *([size] if size >= 0 else []))

    def readlines(self, hint: int = -1) -> list[Any]:
        lines, size = [], 0
        for line in self:
            lines.append(line)
            size += len(line)
            if 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[Any]:
        return iter(self.readline, b"")

    def _read(self, method: Callable[..., Any], *size: int) -> Any:
        try:
            return method(*size)
        except Exception:  # servers raise exceptions of their own, also for malformed chunks
            raise Problem(400, "The body broke off, or its chunks are malformed.") from None


def _check_path(path: str) -> None:
    try:
        path = path if path.isascii() else path.encode("latin-1").decode()
    except UnicodeError:
        raise Problem(400, "The path is not UTF-8.") from None
    if _find_control_character(path):
        raise Problem(400, "The path contains a control character.")
    if not path.startswith("/"):
        raise Problem(400, "The path does not begin with a slash.")


def _repair_headers(environ: Environ) -> None:
    """Make headers valid UTF-8: servers pass bytes as Latin-1 (PEP 3333), Bottle expects UTF-8."""
    for name, value in environ.items():
        if name.startswith("HTTP_") or name == "CONTENT_TYPE":
            text = value.encode("latin-1", "replace").decode("utf-8", "replace")
            environ[name] = text.encode().decode("latin-1")

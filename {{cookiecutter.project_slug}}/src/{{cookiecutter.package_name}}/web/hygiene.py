"""What Bottle must not see: requests that it misreads are refused or put right before it."""

import io
import re
from collections.abc import Iterable
from typing import Any

from .problems import App, Environ, Problem

_control = re.compile("[\x00-\x1f\x7f-\x9f]").search
# RFC 6265, section 4.1.1: what a pair of a cookie header may hold. Python refuses a leading $.
_cookie_pair = re.compile(r'(?!\$)[!#$%&\'*+.^_`|~0-9A-Za-z-]+="?[!#-+\--:<-\[\]-~]*"?').fullmatch


def _mend_headers(environ: Environ) -> None:
    """A server hands bytes over as Latin-1 (PEP 3333), and Bottle takes them for UTF-8."""
    for name, value in environ.items():
        if name.startswith("HTTP_") or name == "CONTENT_TYPE":
            text = value.encode("latin-1", "replace").decode("utf-8", "replace")
            environ[name] = text.encode().decode("latin-1")


class Body:
    """A request's body: what breaks it off is the client's fault, whoever reads it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> Any:
        try:
            return self._stream.read(size)
        except Exception:  # each server has its own, for malformed chunks too
            raise Problem(400, "The body broke off, or its chunks are malformed.") from None


class Hygiene:
    """WSGI middleware: refuses unclean paths and too large bodies, mends what else is unclean.

    Bottle drops the bytes of a path that are no UTF-8, so `/adm%ffin` would reach what a proxy
    guards as `/admin`; its route patterns match before a trailing newline. A header or a cookie
    that it cannot read makes it answer 500, so their bad parts are taken out.
    """

    def __init__(self, app: App, max_body_bytes: int) -> None:
        self._app = app
        self._limit = max_body_bytes

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        self._check_path(environ["PATH_INFO"])
        for value in environ.values():
            if type(value) is str and not value.isascii():
                _mend_headers(environ)
                break
        if cookies := environ.get("HTTP_COOKIE"):
            pairs = (pair.strip() for pair in cookies.split(";"))
            environ["HTTP_COOKIE"] = "; ".join(filter(_cookie_pair, pairs))
        if "HTTP_TRANSFER_ENCODING" in environ:
            self._unchunk(environ)
        elif length := environ.get("CONTENT_LENGTH"):
            if not (length.isascii() and length.isdigit() and len(length) < 16):
                raise Problem(400, "Content-Length is not a number.")
            if int(length) > self._limit:
                raise self._too_large()
            environ["wsgi.input"] = Body(environ["wsgi.input"])
        return self._app(environ, start_response)

    def _check_path(self, path: str) -> None:
        try:
            path = path if path.isascii() else path.encode("latin-1").decode()
        except UnicodeError:
            raise Problem(400, "The path is not UTF-8.") from None
        if _control(path):
            raise Problem(400, "The path holds a control character.")
        if not path.startswith("/"):
            raise Problem(400, "The path does not begin with a slash.")

    def _unchunk(self, environ: Environ) -> None:
        """Replace a chunked body by its bytes.

        Servers decode the chunks and leave the header, from which Bottle would decode again.
        """
        if not environ.get("wsgi.input_terminated"):
            raise Problem(411, "A body needs a Content-Length here.")
        body = Body(environ["wsgi.input"]).read(self._limit + 1)
        if len(body) > self._limit:
            raise self._too_large()
        del environ["HTTP_TRANSFER_ENCODING"]
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))

    def _too_large(self) -> Problem:
        return Problem(413, f"The body is larger than {self._limit} bytes.")

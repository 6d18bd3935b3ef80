"""What Bottle must not see: requests that it misreads are refused or put right before it."""

import io
import re
from collections.abc import Iterable
from typing import Any

from .problems import Environ, Problem

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]").search


class Hygiene:
    """WSGI middleware: refuses unclean paths and too large bodies, unchunks chunked ones.

    Bottle drops the bytes of a path that are no UTF-8, so `/adm%ffin` would reach what a proxy
    guards as `/admin`; its route patterns match before a trailing newline.
    """

    def __init__(self, app: Any, max_body_bytes: int) -> None:
        self._app = app
        self._limit = max_body_bytes

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        try:
            path = environ["PATH_INFO"].encode("latin-1").decode()
        except UnicodeError:
            raise Problem(400, "The path is not UTF-8.") from None
        if _CONTROL(path):
            raise Problem(400, "The path holds a control character.")
        if "HTTP_TRANSFER_ENCODING" in environ:
            self._unchunk(environ)
        elif length := environ.get("CONTENT_LENGTH"):
            if not (length.isascii() and length.isdigit()):
                raise Problem(400, "Content-Length is not a number.")
            if int(length) > self._limit:
                raise self._too_large()
        body: Iterable[bytes] = self._app(environ, start_response)
        return body

    def _unchunk(self, environ: Environ) -> None:
        """Replace a chunked body by its bytes.

        Servers decode the chunks and leave the header, from which Bottle would decode again.
        """
        if not environ.get("wsgi.input_terminated"):
            raise Problem(411, "A body needs a Content-Length here.")
        body = environ["wsgi.input"].read(self._limit + 1)
        if len(body) > self._limit:
            raise self._too_large()
        del environ["HTTP_TRANSFER_ENCODING"]
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))

    def _too_large(self) -> Problem:
        return Problem(413, f"The body is larger than {self._limit} bytes.")

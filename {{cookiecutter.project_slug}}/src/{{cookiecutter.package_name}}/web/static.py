"""Static files, for where no Nginx serves them: correct, and safe to expose."""

import mimetypes
import os
from pathlib import Path

from bottle import HTTPResponse, parse_range_header, request, static_file

from .problems import Problem

# The host's own table would make answers differ from machine to machine.
_TYPES = mimetypes.MimeTypes(filenames=())


class StaticFiles:
    """The files of one directory.

    Bottle's `static_file` follows links out of the directory, calls unknown types text/html and
    sends ETags that no client can match; these are mended here.
    """

    def __init__(self, directory: Path) -> None:
        self._root = str(directory.resolve())

    def serve(self, path: str) -> HTTPResponse:
        """Return the file as an answer. Raises Problem 404 for all that is no file in here."""
        # Not with pathlib: Python 3.12's keeps every name for ever (python/cpython#113993).
        file = os.path.realpath(os.path.join(self._root, path))
        inside = file.startswith(self._root + os.sep) and os.path.isfile(file)
        if not inside or path.endswith("/") or any(p.startswith(".") for p in path.split("/")):
            raise Problem(404, "There is no such file.")
        status = os.stat(file)
        etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        environ = request.environ
        ranges = environ.get("HTTP_RANGE", "")
        if environ.get("HTTP_IF_RANGE", etag) != etag or not ranges.startswith("bytes="):
            # The client has a part of another version, so the rest of this one would not fit;
            # or it counts in another unit (RFC 9110, section 14.2).
            environ.pop("HTTP_RANGE", None)
        elif not any(parse_range_header(ranges, status.st_size)):
            size = {"Content-Range": f"bytes */{status.st_size}"}
            raise Problem(416, "The file has no such part.", headers=size)
        kind, encoding = _TYPES.guess_type(file)
        return static_file(
            os.path.relpath(file, self._root),
            root=self._root,
            mimetype="application/octet-stream" if encoding or not kind else kind,
            etag=etag,
            headers={"Cache-Control": "no-cache"},
        )

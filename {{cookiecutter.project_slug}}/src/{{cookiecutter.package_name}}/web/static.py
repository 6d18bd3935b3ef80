"""Static files, for where no Nginx serves them: correct, and safe to expose."""

import mimetypes
import os
from pathlib import Path

from bottle import HTTPResponse, request, static_file

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
        if request.environ.get("HTTP_IF_RANGE", etag) != etag:
            # The client has a part of another version, so the rest of this one would not fit.
            request.environ.pop("HTTP_RANGE", None)
        kind, encoding = _TYPES.guess_type(file)
        return static_file(
            os.path.relpath(file, self._root),
            root=self._root,
            mimetype="application/octet-stream" if encoding or not kind else kind,
            etag=etag,
            headers={"Cache-Control": "no-cache"},
        )

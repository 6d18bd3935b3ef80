"""Static files, also under names that change with their content, so that clients cache them.

`app.css` is also `app.5d2f1c0a9b3e.css`. The service serves both names. `collect-static` writes
copies for Nginx.
"""

import gzip
import hashlib
import json
import mimetypes
import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from bottle import HTTPResponse, parse_range_header, request, static_file

from .http.problems import Problem
from .startup import StartupError, StartupProblem

__all__ = ["Assets", "is_unchanged"]

FOREVER = "public, max-age=31536000, immutable"  # RFC 8246
MANIFEST = ".manifest.json"
# Files of other types are compressed already.
COMPRESSED = frozenset({".css", ".html", ".js", ".json", ".map", ".svg", ".txt", ".xml"})
# The opaque tags in If-None-Match, whose comparison is weak: a W/ before a tag does not count.
_QUOTED = re.compile(r'"[^"]*"')
# A table of its own, because the host's would make responses differ between machines.
_TYPES = mimetypes.MimeTypes(filenames=())


def is_unchanged(etag: str, tags: str) -> bool:
    """Return whether If-None-Match has this ETag: the client has the present content."""
    return tags.strip() == "*" or etag in _QUOTED.findall(tags)


class Assets:
    """The static files of one directory.

    `fingerprints` makes `url` return the names that change with the content; switch it off where
    files change while the service runs. `url_prefix` is the path of the service on its host.
    """

    def __init__(self, directory: Path, *, fingerprints: bool, url_prefix: str = "") -> None:
        self._url_prefix = url_prefix
        self._root = str(directory.resolve())
        self._directory = directory
        self._fingerprints = fingerprints
        # Each file's name, and its name with a hash of the content.
        self.names = _fingerprint(directory)
        self._plain_names = {name: plain for plain, name in self.names.items()}

    def unreadable(self) -> list[Path]:
        """Return the directories and files that this process may not read."""
        if not os.access(self._directory, os.R_OK | os.X_OK):
            return [self._directory]
        return [path for path in self._directory.rglob("*") if not os.access(path, os.R_OK)]

    def url(self, name: str) -> str:
        """Return the path of a file's URL, for views. Raises LookupError for an unknown file."""
        if name not in self.names and not self._fingerprints:
            self.names = _fingerprint(self._directory)  # the file may be newer than the process
        if name not in self.names:
            raise LookupError(f"there is no static file {name!r}")
        file = self.names[name] if self._fingerprints else name
        return f"{self._url_prefix}/static/{quote(file)}"

    def serve(self, path: str) -> HTTPResponse:
        """Return the file as a response. Raises Problem: 404, or 416 for an unsatisfiable range."""
        plain = self._plain_names.get(path)
        response = self._serve_file(plain or path)
        if plain and response.status_code < 400:
            response.set_header("Cache-Control", FOREVER)
        return response

    def _serve_file(self, path: str) -> HTTPResponse:
        """Return Bottle's response, corrected.

        Bottle's `static_file` follows links out of the directory, serves unknown types as
        text/html and sends ETags that no client can match. It responds with 304 by date to a client
        that has another ETag, and with a part to HEAD.
        """
        # os.path, because pathlib of Python 3.12 keeps every name (python/cpython#113993).
        file = os.path.realpath(os.path.join(self._root, path))
        inside = file.startswith(self._root + os.sep) and os.path.isfile(file)
        if not inside or path.endswith("/") or any(p.startswith(".") for p in path.split("/")):
            raise Problem(404, "There is no such file.")
        status = os.stat(file)
        etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        environ = request.environ
        ranges = environ.get("HTTP_RANGE", "")
        tags = environ.pop("HTTP_IF_NONE_MATCH", None)
        if tags is not None:
            environ.pop("HTTP_IF_MODIFIED_SINCE", None)  # RFC 9110, section 13.1.3
        unchanged = tags is not None and is_unchanged(etag, tags)
        if unchanged:
            environ["HTTP_IF_NONE_MATCH"] = etag
        if (
            unchanged
            or request.method != "GET"
            or not ranges.startswith("bytes=")
            or environ.get("HTTP_IF_RANGE", etag) != etag
        ):
            # Without effect by RFC 9110, sections 13.2.2, 14.2 and 13.1.5.
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

    def collect(self, destination: Path) -> None:
        """Write each file under both of its names, and compressed: `.gz`.

        Files of the previous manifest are kept, for pages that were loaded before. Raises
        StartupError if the directory cannot be written or was not written by this method.
        """
        try:
            manifest = destination / MANIFEST
            before = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else {}
            if not manifest.exists() and destination.exists() and any(destination.iterdir()):
                raise FileExistsError(
                    0, f"is not empty and has no {MANIFEST}; name another directory"
                )
            for plain, name in self.names.items():
                copies = {"": (self._directory / plain).read_bytes()}
                if PurePosixPath(plain).suffix in COMPRESSED:
                    copies[".gz"] = gzip.compress(copies[""], mtime=0)
                for suffix, content in copies.items():
                    _write(destination / f"{plain}{suffix}", content)
                    _write(destination / f"{name}{suffix}", content)
            _write(manifest, json.dumps(self.names, indent=2).encode())
        except OSError as error:
            problem = StartupProblem("", str(error.strerror), str(destination))
            raise StartupError([problem]) from None
        kept = {MANIFEST, *before, *before.values(), *self.names, *self.names.values()}
        for path in destination.rglob("*"):
            name = path.relative_to(destination).as_posix()
            if path.is_file() and not {name, name.removesuffix(".gz")} & kept:
                path.unlink()


def _fingerprint(directory: Path) -> dict[str, str]:
    names = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        inside = path.resolve().is_relative_to(directory.resolve())
        hidden = any(part.startswith(".") for part in name.parts)
        # Unreadable files are reported by `unreadable`.
        if path.is_file() and inside and not hidden and os.access(path, os.R_OK):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
            names[name.as_posix()] = name.with_name(f"{name.stem}.{digest}{name.suffix}").as_posix()
    return names


def _write(path: Path, content: bytes) -> None:
    """Replace the file atomically, unless it has this content already."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)

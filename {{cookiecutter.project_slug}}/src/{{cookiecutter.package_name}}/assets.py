"""Static files under names that change with their content, so that clients may keep them for ever.

`app.css` is also `app.5d2f1c0a9b3e.css`. The service answers for both; `assets DESTINATION` writes
copies for Nginx to serve.
"""

import gzip
import hashlib
import json
import os
from pathlib import Path, PurePosixPath

from bottle import HTTPResponse

from .environment import BootError, Problem
from .web.static import StaticFiles

FOREVER = "public, max-age=31536000, immutable"  # RFC 8246
MANIFEST = ".manifest.json"
# The other types are compressed already.
COMPRESSED = frozenset({".css", ".html", ".js", ".json", ".map", ".svg", ".txt", ".xml"})


class Assets:
    """The files of one directory. `fingerprints` is off where files change while it runs."""

    def __init__(self, directory: Path, *, fingerprints: bool) -> None:
        self._files = StaticFiles(directory)
        self._directory = directory
        self._fingerprints = fingerprints
        # Each file's name, and the one that has a hash of its content in it.
        self.names = _fingerprinted(directory)
        self._plain = {name: plain for plain, name in self.names.items()}

    def unreadable(self) -> list[Path]:
        """Return the directories and files that this process may not read."""
        if not os.access(self._directory, os.R_OK | os.X_OK):
            return [self._directory]
        return [path for path in self._directory.rglob("*") if not os.access(path, os.R_OK)]

    def url(self, name: str) -> str:
        """Return the address of a file, for views. Raises LookupError when there is no such file."""
        if name not in self.names and not self._fingerprints:
            self.names = _fingerprinted(self._directory)  # it may have come since the start
        if name not in self.names:
            raise LookupError(f"there is no static file {name!r}")
        return f"/static/{self.names[name] if self._fingerprints else name}"

    def serve(self, path: str) -> HTTPResponse:
        """Return the file as an answer. Raises Problem 404 for all that is no file in here."""
        plain = self._plain.get(path)
        answer = self._files.serve(plain or path)
        if plain and answer.status_code < 400:
            answer.set_header("Cache-Control", FOREVER)
        return answer

    def write(self, destination: Path) -> None:
        """Write each file under both of its names, and compressed: `.gz`.

        The files of the manifest that is there stay as well, for pages that were loaded before.
        Raises BootError when the directory cannot be written or is not one of assets.
        """
        try:
            manifest = destination / MANIFEST
            before = json.loads(manifest.read_text()) if manifest.exists() else {}
            if not manifest.exists() and destination.exists() and any(destination.iterdir()):
                raise FileExistsError(
                    0, f"is not empty and has no {MANIFEST}; name an own directory"
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
            raise BootError([Problem("", str(error.strerror), str(destination))]) from None
        kept = {MANIFEST, *before, *before.values(), *self.names, *self.names.values()}
        for path in destination.rglob("*"):
            name = path.relative_to(destination).as_posix()
            if path.is_file() and not {name, name.removesuffix(".gz")} & kept:
                path.unlink()


def _fingerprinted(directory: Path) -> dict[str, str]:
    names = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        inside = path.resolve().is_relative_to(directory.resolve())
        hidden = any(part.startswith(".") for part in name.parts)
        # What cannot be read is not passed over: it refuses the start (app.py).
        if path.is_file() and inside and not hidden and os.access(path, os.R_OK):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
            names[name.as_posix()] = name.with_name(f"{name.stem}.{digest}{name.suffix}").as_posix()
    return names


def _write(path: Path, content: bytes) -> None:
    """Replace the file at once, and leave one alone that has this content already."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)

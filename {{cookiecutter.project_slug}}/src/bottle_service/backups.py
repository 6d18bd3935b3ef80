"""Backups of the database: their files, names and age. `Database` reads and writes their content."""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

__all__ = ["BackupError", "check_revision", "newest_backup", "sync", "write_backup"]

TIME = "%Y%m%dT%H%M%SZ"


class BackupError(Exception):
    """A backup or a restore failed. The message names the file, the reason and the remedy."""


class BackupSource(Protocol):
    """A database, as backups use it."""

    backup_suffix: str

    def backup(self, file: Path, /) -> str: ...


def write_backup(name: str, database: BackupSource, directory: Path, keep_days: int) -> Path:
    """Write a backup of the service `name` to the directory, which is created, and return its path.

    The file is called NAME-TIME-REVISION with the time in UTC, and only its owner can read it.
    Until it is complete, checked and on the disk, it is called NAME.part. Then older backups of
    this service are removed from the directory, if their time is more than `keep_days` days ago.

    Raises BackupError; the directory is as before then.
    """
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        with _exclusive(directory):
            _remove_parts(directory, name)  # of a process that was killed
            now = datetime.now(UTC)
            part = directory / f"{name}.part"
            try:
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                revision = re.sub(r"[^\w-]", "_", database.backup(part))
                sync(part)
                backup = (
                    directory / f"{name}-{now.strftime(TIME)}-{revision}{database.backup_suffix}"
                )
                part.replace(backup)
                sync(directory)
            finally:
                _remove_parts(directory, name)
            oldest = (now - timedelta(days=keep_days)).timestamp()
            for path, written in _backups(directory, name):
                if written < oldest:
                    path.unlink()
    except OSError as error:
        advice = (
            "set BACKUP_DIRECTORY to a directory that this user can write to, with enough space"
        )
        raise BackupError(f"cannot write to {directory}: {error.strerror}; {advice}") from None
    return backup


def check_revision(backup: Path, revision: str, known: Collection[str]) -> None:
    """Raise BackupError if this release does not know the revision of a backup."""
    if revision not in known:
        advice = "use the release that wrote it, or a newer one"
        reason = f"is at revision {revision}, which this release does not know"
        raise BackupError(f"{backup} {reason}; {advice}")


def newest_backup(directory: Path, name: str) -> float:
    """Return the Unix time of the newest backup of the service `name`, or 0 if there is none."""
    with suppress(OSError):
        return max((written for _, written in _backups(directory, name)), default=0.0)
    return 0.0


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a directory, are on the disk. Raises OSError."""
    if os.name != "posix" and path.is_dir():
        return  # Windows cannot open a directory
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _backups(directory: Path, name: str) -> Iterator[tuple[Path, float]]:
    """Yield the backups of the service, with their Unix times. Raises OSError."""
    for entry in os.scandir(directory):
        if found := re.fullmatch(re.escape(name) + r"-(\d{8}T\d{6}Z)-[\w-]+\.\w+", entry.name):
            yield Path(entry), datetime.strptime(f"{found[1]}+0000", f"{TIME}%z").timestamp()


def _remove_parts(directory: Path, name: str) -> None:
    for path in directory.glob(f"{name}.part*"):  # SQLite adds -journal
        path.unlink(missing_ok=True)


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Wait for another backup to this directory, such as that of a timer during a release."""
    if os.name != "posix":  # Windows is for development
        yield
        return
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

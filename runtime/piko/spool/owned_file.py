"""A file in the spool's folder: an SQLite database that belongs to one process for as long as it lives.

One thread writes it on one connection. A lock beside it, which the kernel lets go with its process, tells a
file whose owner lives from one that was left behind. Nobody but its user may read the file: results, and the
errors of jobs, are no less secret than their database.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from piko.errors import SpoolError


class SpoolInUseError(SpoolError):
    """The file has a living owner."""


class OwnedFile:
    """One such file, open in this process. Not for use by several threads at once."""

    def __init__(self, path: Path, *, tables: str, fsync: bool = True) -> None:
        self.path = path
        self._lock = _lock(path)
        try:
            with told(path):
                _make_private(path)
                self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
                self._connection.executescript(tables)
        except SpoolError:
            self._release()
            raise

    def delete(self) -> None:
        """Remove the file, empty or taken over."""
        with suppress(sqlite3.Error):
            self._connection.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self._release()

    def leave(self) -> None:
        """Close the file and let go of it, with what it holds."""
        self._connection.close()
        self._release()

    def _release(self) -> None:
        Path(f"{self.path}.lock").unlink(missing_ok=True)
        os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with told(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Failures of the file at `path` as `SpoolError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise SpoolError(f"spool {path}: {error}; is its disk full, or read-only?") from error


def ranges(ids: Sequence[int]) -> list[tuple[int, int]]:
    """`ids` as first and last of each unbroken stretch: batches are mostly one."""
    found: list[tuple[int, int]] = []
    for item in sorted(ids):
        if found and item <= found[-1][1] + 1:
            found[-1] = found[-1][0], item
        else:
            found.append((item, item))
    return found


def make_folder(folder: Path) -> None:
    """Make the spool's folder. Raises `SpoolError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SpoolError(
            f"setting `spool_dir` = {str(folder)!r}: cannot be made: {error.strerror}; "
            "name a folder that this process may write to and that outlives it"
        ) from None


def _make_private(path: Path) -> None:
    """SQLite makes its own files beside this one as readable as this one is."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise SpoolError(f"spool {path}: cannot be opened: {error.strerror}; check `spool_dir`") from None


def _lock(path: Path) -> int:
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SpoolError(f"spool {path}: cannot be opened: {error.strerror}; check `spool_dir`") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise SpoolInUseError(f"spool {path} is in use by a process that runs; stop it first") from None
    if not _is_at(descriptor, Path(f"{path}.lock")):
        os.close(descriptor)
        raise SpoolInUseError(f"spool {path} was let go of in this moment; look again")
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the lock that was taken is still the one that others find."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False

"""A file in the spool's folder: an SQLite database that belongs to one process while that process lives.

One thread writes it on one connection. A lock file, which the kernel releases when the process ends,
distinguishes a file with a living owner from one that was left behind. Only the owner's user may read the
file: results and errors of jobs are as secret as their database.
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
            with as_spool_error(path):
                _make_private(path)
                self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
                self._connection.executescript(tables)
        except SpoolError:
            self._release()
            raise

    def delete(self) -> None:
        """Delete the file, which is empty or was taken over."""
        with suppress(sqlite3.Error):
            self._connection.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self._release()

    def leave(self) -> None:
        """Close and release the file, and keep its contents."""
        self._connection.close()
        self._release()

    def _release(self) -> None:
        Path(f"{self.path}.lock").unlink(missing_ok=True)
        os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with as_spool_error(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def as_spool_error(path: Path) -> Iterator[None]:
    """Raise SQLite errors of the file at `path` as `SpoolError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise SpoolError(f"spool {path}: {error}; is its disk full, or read-only?") from error


def ranges(ids: Sequence[int]) -> list[tuple[int, int]]:
    """`ids` as pairs of the first and last id of each contiguous range; most batches are one range."""
    found: list[tuple[int, int]] = []
    for item in sorted(ids):
        if found and item <= found[-1][1] + 1:
            found[-1] = found[-1][0], item
        else:
            found.append((item, item))
    return found


def make_folder(folder: Path) -> None:
    """Create the spool's folder. Raises `SpoolError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SpoolError(
            f"setting `spool_dir` = {str(folder)!r}: cannot be created: {error.strerror}; "
            "set it to a folder that this process may write to and that outlives the process"
        ) from None


def _make_private(path: Path) -> None:
    """Create the file with mode 0600; SQLite gives the same mode to its companion files."""
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
        raise SpoolInUseError(f"spool {path} is in use by a running process; stop it first") from None
    if not _is_at(descriptor, Path(f"{path}.lock")):
        os.close(descriptor)
        raise SpoolInUseError(f"spool {path} was released at this moment; try again")
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the locked file is still the one at `path`."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False

"""Where `piko dev` keeps its data: `.piko/` in the folder, for one process at a time and one user alone.

Configs and results of jobs lie there, so that nobody else may read it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from piko.errors import DiscoveryError, SettingsError

_NAME = ".piko"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevDatabase:
    """The database of a folder; `is_new` says that this start makes it."""

    database: Path
    is_new: bool

    @property
    def dsn(self) -> str:
        return f"sqlite+aiosqlite:///{self.database}"


def check_folder(folder: Path) -> Path:
    """`folder` as an absolute path. Raises `DiscoveryError` where it is none."""
    path = folder.absolute()
    if not path.is_dir():
        what = "it is a file" if path.exists() else "there is no such folder"
        raise DiscoveryError(
            f"{folder}: {what}; expected a folder with a module that has a PikoApp, and resource files: "
            "piko dev DIR, for example piko dev examples/orders"
        )
    if set("?#%") & set(str(path)):
        raise DiscoveryError(
            f"{path}: ?, # and % in a folder's name mislead database URLs; rename the folder"
        )
    return path


@contextmanager
def hold_place(folder: Path) -> Iterator[DevDatabase]:
    """Make `.piko/` where it lacks, and keep others out while the block lasts.

    Raises `SettingsError` where it cannot be written, or another process is in it.
    """
    home = folder / _NAME
    database = home / "piko.db"
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        _keep_private(home, 0o700)
        (home / ".gitignore").write_text("*\n", encoding="utf-8")
        lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unwritable(home, error) from None
    try:
        _lock(lock, home)
        place = DevDatabase(database=database, is_new=not database.exists())
        try:
            # SQLite gives the files that it keeps beside a database the mode of the database.
            os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
            _keep_private(database, 0o600)
        except OSError as error:
            raise _unwritable(home, error) from None
        yield place
    finally:
        os.close(lock)


def _unwritable(home: Path, error: OSError) -> SettingsError:
    return SettingsError(
        f"{home}: piko dev keeps its database there and cannot write it: {error.strerror}; "
        "make the folder writable, or copy it to one that is"
    )


def _keep_private(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o077:
        path.chmod(mode)


def _lock(lock: int, home: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however it ends
    except OSError:
        holder = os.pread(lock, 32, 0).decode() or "unknown"
        raise SettingsError(
            f"{home}: piko dev runs on this folder already, as process {holder}; stop that one first"
        ) from None
    os.truncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)

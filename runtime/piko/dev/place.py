"""The data of `piko dev`: `.piko/` in the folder, for one process at a time and only for its user.

It contains configs and results of jobs, so other users may not read it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    """`folder` as an absolute path. Raises `DiscoveryError` if it is not a folder."""
    path = folder.absolute()
    if not path.is_dir():
        what = "it is a file" if path.exists() else "there is no such folder"
        raise DiscoveryError(
            f"{folder}: {what}; expected a folder with a module that has a PikoApp, and resource files: "
            "piko dev DIR, for example piko dev examples/orders"
        )
    if set("?#%") & set(str(path)):
        raise DiscoveryError(
            f"{path}: ?, # and % in a folder's name have a meaning in database URLs; rename the folder"
        )
    return path


def database_above(folder: Path) -> DevDatabase | None:
    """The database of `piko dev` in `folder`, or in the nearest folder above it that has one of this user."""
    for place in (folder.absolute(), *folder.absolute().parents):
        database = place / _NAME / "piko.db"
        with suppress(OSError):
            if database.stat().st_uid == os.getuid():
                return DevDatabase(database=database, is_new=False)
    return None


@contextmanager
def hold_place(folder: Path) -> Iterator[DevDatabase]:
    """Create `.piko/` if needed, and keep other processes out within the block.

    Raises `SettingsError` if it cannot be written, or if another process uses it.
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
            # SQLite gives its companion files the mode of the database.
            os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
            _keep_private(database, 0o600)
        except OSError as error:
            raise _unwritable(home, error) from None
        yield place
    finally:
        os.close(lock)


def _unwritable(home: Path, error: OSError) -> SettingsError:
    return SettingsError(
        f"{home}: piko dev cannot write its database there: {error.strerror}; "
        "make the folder writable, or copy it to a writable place"
    )


def _keep_private(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o077:
        path.chmod(mode)


def _lock(lock: int, home: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the process ends, in any way
    except OSError:
        holder = os.pread(lock, 32, 0).decode() or "unknown"
        raise SettingsError(
            f"{home}: piko dev already runs on this folder, as process {holder}; stop that process first"
        ) from None
    os.truncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)

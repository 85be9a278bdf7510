"""Outcomes of runs on disk, for the time that the database is unavailable.

Each process has its own file, `<instance>.outcomes`, in the folder of the spool. The file is created when it
is first needed and deleted when it is empty. A later process on the same folder replays the files of
processes that have ended. A record is JSON and holds the outcome with the fence under which it may be
recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from piko.errors import SpoolError
from piko.model.fences import OutcomeFence
from piko.model.runs import Outcome
from piko.spool.owned_file import OwnedFile, SpoolInUseError, as_spool_error, make_folder, ranges

T = TypeVar("T")

_SUFFIX = ".outcomes"
_TABLES = "CREATE TABLE IF NOT EXISTS outcome (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An outcome, and the fence of the replica that reports it."""

    outcome: Outcome
    fence: OutcomeFence


class KeptOutcome(NamedTuple):
    """One record of a file; `account` is None if this release cannot parse `body`."""

    number: int
    body: str
    account: Account | None


_FORM = TypeAdapter(Account)


class OutcomeFile(OwnedFile):
    """One file, open in this process. Not for use by several threads at once."""

    def __init__(self, path: Path, *, fsync: bool = True) -> None:
        super().__init__(path, tables=_TABLES, fsync=fsync)

    def put(self, accounts: Sequence[Account]) -> list[int]:
        """Write accounts; returns their increasing numbers once they are on disk."""
        with self._transaction() as connection:
            last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outcome'").fetchone()
            first = (last[0] if last else 0) + 1
            rows = [(first + at, _FORM.dump_json(item).decode()) for at, item in enumerate(accounts)]
            connection.executemany("INSERT INTO outcome (id, body) VALUES (?, ?)", rows)
            return [number for number, _ in rows]

    def fetch(self, *, after: int, limit: int) -> list[KeptOutcome]:
        """The next records after the number `after`; they stay until `remove`."""
        with as_spool_error(self.path):
            rows = self._connection.execute(
                "SELECT id, body FROM outcome WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
            ).fetchall()
        return [KeptOutcome(number, body, _read(body)) for number, body in rows]

    def remove(self, numbers: Sequence[int]) -> None:
        """Remove accounts that are recorded in the database."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM outcome WHERE id BETWEEN ? AND ?", ranges(numbers))

    def close(self) -> None:
        """Close the file; an empty file is deleted."""
        with as_spool_error(self.path):
            empty = self._connection.execute("SELECT 1 FROM outcome LIMIT 1").fetchone() is None
        if empty:
            self.delete()
        else:
            self.leave()


class OutcomeSpool:
    """One file for use on an event loop: calls run in the thread that owns it. All raise `SpoolError`."""

    def __init__(self, path: Path, *, fsync: bool = True, file: OutcomeFile | None = None) -> None:
        self.path = path
        self._fsync = fsync
        self._file = file
        self._thread: ThreadPoolExecutor | None = None

    @classmethod
    def of_instance(cls, folder: Path, instance_id: str, *, fsync: bool) -> OutcomeSpool:
        """The file of an instance; it is created when the first record is written."""
        return cls(folder / f"{instance_id}{_SUFFIX}", fsync=fsync)

    async def put(self, accounts: Sequence[Account]) -> list[int]:
        return await self._call(lambda: self._opened().put(accounts))

    async def fetch(self, *, after: int, limit: int) -> list[KeptOutcome]:
        return await self._call(lambda: self._opened().fetch(after=after, limit=limit))

    async def remove(self, numbers: Sequence[int]) -> None:
        await self._call(lambda: self._opened().remove(numbers))

    async def close(self) -> None:
        """Release the file; an empty file is deleted."""
        try:
            if self._file is not None:
                await self._call(self._file.close)
        finally:
            self._file = None
            if self._thread is not None:
                self._thread.shutdown(wait=False)
                self._thread = None

    async def _call(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="outcomes")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _opened(self) -> OutcomeFile:
        if self._file is None:
            make_folder(self.path.parent)
            self._file = OutcomeFile(self.path, fsync=self._fsync)
        return self._file


async def left_behind(folder: Path) -> list[OutcomeSpool]:
    """The files in `folder` whose processes have ended, locked by this process from now on."""
    return await asyncio.to_thread(_left_behind, folder)


def _left_behind(folder: Path) -> list[OutcomeSpool]:
    found: list[OutcomeSpool] = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            found.append(OutcomeSpool(path, file=OutcomeFile(path)))
        except SpoolInUseError:
            continue
        except SpoolError:
            found.append(OutcomeSpool(path))  # reading it raises the error
    return found


def _read(body: str) -> Account | None:
    try:
        return _FORM.validate_json(body)
    except ValidationError:
        return None

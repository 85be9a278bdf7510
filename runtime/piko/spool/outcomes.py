"""Outcomes on disk: how runs ended, while the database cannot be told.

Each process has a file of its own, `<instance>.outcomes`, in the folder of the spool; it is made when it is
needed first, and goes when nothing is left in it. A later process on the same folder finds the files of
processes that are gone. What is kept is JSON, with the title under which the outcome may be recorded.
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
from piko.spool.owned_file import OwnedFile, SpoolInUseError, make_folder, ranges, told

T = TypeVar("T")

_SUFFIX = ".outcomes"
_TABLES = "CREATE TABLE IF NOT EXISTS outcome (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An outcome, and the title of who tells it."""

    outcome: Outcome
    fence: OutcomeFence


class KeptOutcome(NamedTuple):
    """One record of a file; `account` is None where this release cannot make sense of `body`."""

    number: int
    body: str
    account: Account | None


_FORM = TypeAdapter(Account)


class OutcomeFile(OwnedFile):
    """One file, open in this process. Not for use by several threads at once."""

    def __init__(self, path: Path, *, fsync: bool = True) -> None:
        super().__init__(path, tables=_TABLES, fsync=fsync)

    def put(self, accounts: Sequence[Account]) -> list[int]:
        """Keep them; returns when they are on disk, with their numbers, which grow."""
        with self._transaction() as connection:
            last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outcome'").fetchone()
            first = (last[0] if last else 0) + 1
            rows = [(first + at, _FORM.dump_json(item).decode()) for at, item in enumerate(accounts)]
            connection.executemany("INSERT INTO outcome (id, body) VALUES (?, ?)", rows)
            return [number for number, _ in rows]

    def take(self, *, after: int, limit: int) -> list[KeptOutcome]:
        """The next after the number `after`; they stay until they are removed."""
        with told(self.path):
            rows = self._connection.execute(
                "SELECT id, body FROM outcome WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
            ).fetchall()
        return [KeptOutcome(number, body, _read(body)) for number, body in rows]

    def remove(self, numbers: Sequence[int]) -> None:
        """They are recorded."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM outcome WHERE id BETWEEN ? AND ?", ranges(numbers))

    def close(self) -> None:
        """Close; a file in which nothing is left is removed."""
        with told(self.path):
            empty = self._connection.execute("SELECT 1 FROM outcome LIMIT 1").fetchone() is None
        if empty:
            self.delete()
        else:
            self.leave()


class OutcomeSpool:
    """One file as an event loop uses it: calls go to the thread that owns it. All raise `SpoolError`."""

    def __init__(self, path: Path, *, fsync: bool = True, file: OutcomeFile | None = None) -> None:
        self.path = path
        self._fsync = fsync
        self._file = file
        self._thread: ThreadPoolExecutor | None = None

    @classmethod
    def of_instance(cls, folder: Path, instance_id: str, *, fsync: bool) -> OutcomeSpool:
        """The file of an instance; nothing is made before there is something to keep."""
        return cls(folder / f"{instance_id}{_SUFFIX}", fsync=fsync)

    async def put(self, accounts: Sequence[Account]) -> list[int]:
        return await self._call(lambda: self._opened().put(accounts))

    async def take(self, *, after: int, limit: int) -> list[KeptOutcome]:
        return await self._call(lambda: self._opened().take(after=after, limit=limit))

    async def remove(self, numbers: Sequence[int]) -> None:
        await self._call(lambda: self._opened().remove(numbers))

    async def close(self) -> None:
        """Let go of the file; it goes where nothing is left in it."""
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
    """The files in `folder` whose processes are gone, held from now on."""
    return await asyncio.to_thread(_left_behind, folder)


def _left_behind(folder: Path) -> list[OutcomeSpool]:
    found: list[OutcomeSpool] = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            found.append(OutcomeSpool(path, file=OutcomeFile(path)))
        except SpoolInUseError:
            continue
        except SpoolError:
            found.append(OutcomeSpool(path))  # reading it tells why
    return found


def _read(body: str) -> Account | None:
    try:
        return _FORM.validate_json(body)
    except ValidationError:
        return None

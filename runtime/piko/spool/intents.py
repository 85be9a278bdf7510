"""Write intents on disk: once acknowledged there, they are delivered by this process or by a later one.

The spool is a folder. Each process has its own file in it, an SQLite database that one thread writes on one
connection, and holds a lock on the file while it lives. At its start a process takes over the files without a
living owner, so that a pod that starts on the volume of its predecessor delivers what that pod left.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from piko.errors import SpoolError
from piko.observability.logs import get_logger
from piko.spool.owned_file import OwnedFile, SpoolInUseError, as_spool_error, make_folder, ranges

T = TypeVar("T")

log = get_logger(__name__)

_TABLES = """
CREATE TABLE IF NOT EXISTS intent (
  id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS ix_intent_sink ON intent (sink, id);
CREATE TABLE IF NOT EXISTS dead_letter (
  id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, body TEXT NOT NULL,
  error TEXT NOT NULL, died_at TEXT NOT NULL
);
"""
_BURY = """
INSERT INTO dead_letter (sink, body, error, died_at) VALUES (?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
"""
# A body begins with key, job and run.
_OF_JOB_AND_RUN = """
(? IS NULL OR json_extract(body, '$[1]') = ?) AND (? IS NULL OR json_extract(body, '$[2]') = ?)
"""
_WAITING_OF = f"SELECT sink, count(*) FROM intent WHERE {_OF_JOB_AND_RUN} GROUP BY sink"  # noqa: S608 - constants alone
_DEAD_OF = f"SELECT id, sink, body, error, died_at FROM dead_letter WHERE {_OF_JOB_AND_RUN} ORDER BY id"  # noqa: S608


class SpooledIntent(NamedTuple):
    """One intent in the spool, still as text."""

    id: int
    body: str


class DeadIntent(NamedTuple):
    """An intent that becomes a dead letter: by its id in the spool, or as text if it is not there."""

    error: str
    id: int | None = None
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An intent that its sink refused, with the error."""

    id: int
    sink: str
    body: str
    error: str
    died_at: str

    @property
    def names(self) -> tuple[str, str, str]:
        """Its key, job and run."""
        try:
            key, job_id, run_id, *_ = json.loads(self.body)
        except (ValueError, TypeError):  # the file was edited by hand
            return "?", "?", "?"
        return key, job_id, run_id


class SpoolFile(OwnedFile):
    """One file of the spool, open in this process. Not for use by several threads at once."""

    def __init__(self, path: Path, *, fsync: bool = True) -> None:
        super().__init__(path, tables=_TABLES, fsync=fsync)

    def put(self, rows: Sequence[tuple[str, str]]) -> list[int]:
        """Write pairs of sink and body; returns their ids once they are on disk."""
        with self._transaction() as connection:
            last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'intent'").fetchone()
            first = (last[0] if last else 0) + 1
            numbered = [(first + at, sink, body) for at, (sink, body) in enumerate(rows)]
            connection.executemany("INSERT INTO intent (id, sink, body) VALUES (?, ?, ?)", numbered)
            return [row[0] for row in numbered]

    def fetch(self, sink: str, *, after: int, limit: int) -> list[SpooledIntent]:
        """The next intents of `sink` after the id `after`; they stay until they are removed."""
        with as_spool_error(self.path):
            rows = self._connection.execute(
                "SELECT id, body FROM intent WHERE sink = ? AND id > ? ORDER BY id LIMIT ?",
                (sink, after, limit),
            )
            return [SpooledIntent(*row) for row in rows]

    def between(self, sink: str, *, first: int, last: int) -> list[SpooledIntent]:
        """What is left of the intents of `sink` with ids from `first` through `last`."""
        with as_spool_error(self.path):
            rows = self._connection.execute(
                "SELECT id, body FROM intent WHERE sink = ? AND id BETWEEN ? AND ? ORDER BY id",
                (sink, first, last),
            )
            return [SpooledIntent(*row) for row in rows]

    def remove(self, ids: Sequence[int]) -> None:
        """Remove delivered intents."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM intent WHERE id BETWEEN ? AND ?", ranges(ids))

    def bury(self, sink: str, refused: Sequence[DeadIntent]) -> None:
        """Move intents to the dead letters."""
        with self._transaction() as connection:
            for error, number, body in refused:
                text = body
                if number is not None:
                    row = connection.execute("SELECT body FROM intent WHERE id = ?", (number,)).fetchone()
                    if row is None:
                        continue
                    text = row[0]
                    connection.execute("DELETE FROM intent WHERE id = ?", (number,))
                connection.execute(_BURY, (sink, text, error))

    def counts(self) -> dict[str, int]:
        """How many intents wait, by sink."""
        with as_spool_error(self.path):
            return dict(
                self._connection.execute("SELECT sink, count(*) FROM intent GROUP BY sink").fetchall()
            )

    def dead_counts(self) -> dict[str, tuple[int, str]]:
        """How many dead letters there are, and when the first was refused, by sink."""
        with as_spool_error(self.path):
            rows = self._connection.execute(
                "SELECT sink, count(*), min(died_at) FROM dead_letter GROUP BY sink"
            ).fetchall()
            return {sink: (count, first) for sink, count, first in rows}

    def dead_letters(self) -> list[DeadLetter]:
        with as_spool_error(self.path):
            return _dead_letters(self._connection)

    def replay(self, ids: Sequence[int]) -> None:
        """Move dead letters back to the intents, to be delivered again."""
        with self._transaction() as connection:
            for item in ids:
                connection.execute(
                    "INSERT INTO intent (sink, body) SELECT sink, body FROM dead_letter WHERE id = ?", (item,)
                )
                connection.execute("DELETE FROM dead_letter WHERE id = ?", (item,))

    def drop(self, ids: Sequence[int]) -> None:
        """Delete dead letters."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM dead_letter WHERE id = ?", [(item,) for item in ids])

    def adopt(self, other: SpoolFile) -> None:
        """Move the contents of `other` here, then delete it; a crash in between causes a second delivery."""
        with as_spool_error(other.path):
            self._connection.execute("ATTACH DATABASE ? AS other", (str(other.path),))
            try:
                with self._transaction() as connection:
                    connection.execute(
                        "INSERT INTO intent (sink, body) SELECT sink, body FROM other.intent ORDER BY id"
                    )
                    connection.execute(
                        "INSERT INTO dead_letter (sink, body, error, died_at) "
                        "SELECT sink, body, error, died_at FROM other.dead_letter ORDER BY id"
                    )
            finally:
                self._connection.execute("DETACH DATABASE other")
        other.delete()

    def close(self) -> None:
        """Close the file; an empty file is deleted."""
        with as_spool_error(self.path):
            held = "SELECT EXISTS (SELECT 1 FROM intent) OR EXISTS (SELECT 1 FROM dead_letter)"
            empty = not self._connection.execute(held).fetchone()[0]
        if empty:
            self.delete()
        else:
            self.leave()


class Spool:
    """The spool as the writer uses it: calls go to the thread that owns the file."""

    def __init__(self, folder: Path, *, name: str, fsync: bool = True) -> None:
        self.folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._name = name
        self._fsync = fsync
        self._file: SpoolFile | None = None

    async def open(self) -> int:
        """Create or open the file; returns the number of intents found. Raises `SpoolError`."""
        return await self.call(self._open)

    async def put(self, rows: Sequence[tuple[str, str]]) -> list[int]:
        return await self.call(lambda: self._opened.put(rows))

    async def fetch(self, sink: str, *, after: int, limit: int) -> list[SpooledIntent]:
        return await self.call(lambda: self._opened.fetch(sink, after=after, limit=limit))

    async def remove(self, ids: Sequence[int]) -> None:
        await self.call(lambda: self._opened.remove(ids))

    async def between(self, sink: str, *, first: int, last: int) -> list[SpooledIntent]:
        return await self.call(lambda: self._opened.between(sink, first=first, last=last))

    async def bury(self, sink: str, refused: Sequence[DeadIntent]) -> None:
        await self.call(lambda: self._opened.bury(sink, refused))

    async def counts(self) -> dict[str, int]:
        return await self.call(lambda: self._opened.counts())

    async def dead_counts(self) -> dict[str, tuple[int, str]]:
        return await self.call(lambda: self._opened.dead_counts())

    async def close(self) -> None:
        if self._file is not None:
            await self.call(self._file.close)
        self._thread.shutdown()

    async def call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @property
    def _opened(self) -> SpoolFile:
        assert self._file is not None
        return self._file

    def _open(self) -> int:
        make_folder(self.folder)
        self._file = SpoolFile(self.folder / f"{self._name}.spool", fsync=self._fsync)
        for path in sorted(self.folder.glob("*.spool")):
            if path != self._file.path:
                self._adopt(path)
        return sum(self._file.counts().values())

    def _adopt(self, path: Path) -> None:
        """Take over the file of an ended process; a file that cannot be read now is left in place."""
        try:
            other = SpoolFile(path)
        except SpoolInUseError:
            return
        except SpoolError as error:
            log.error("spool_not_read", path=str(path), error=str(error))
            return
        try:
            self._opened.adopt(other)
        except SpoolError as error:
            other.leave()
            log.error("spool_not_read", path=str(path), error=str(error))


def look(
    path: Path, *, job_id: str | None = None, run_id: str | None = None
) -> tuple[dict[str, int], list[DeadLetter]]:
    """The contents of a file, read while its owner uses it: waiting intents by sink, and dead letters.

    `job_id` and `run_id` restrict both. A file that its owner is just creating or deleting counts as empty.
    Raises `SpoolError`.
    """
    with as_spool_error(path):
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
        try:
            if _has_tables(connection):
                of = (job_id, job_id, run_id, run_id)
                rows = connection.execute(_WAITING_OF, of)
                return dict(rows.fetchall()), _dead_letters(connection, of)
        except sqlite3.OperationalError:
            if path.exists():
                raise
        finally:
            connection.close()
    return {}, []


def _has_tables(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('intent', 'dead_letter')")
    return bool(found.fetchone()[0] == 2)


def _dead_letters(connection: sqlite3.Connection, of: Sequence[str | None] = (None,) * 4) -> list[DeadLetter]:
    rows = connection.execute(_DEAD_OF, of)
    return [DeadLetter(id=row[0], sink=row[1], body=row[2], error=row[3], died_at=row[4]) for row in rows]

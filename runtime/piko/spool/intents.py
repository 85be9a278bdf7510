"""Write intents on disk: once acknowledged there, they are delivered by this process or by a later one.

The spool is a folder. Each process has its own file in it, an SQLite database that one thread writes on one
connection, and holds a lock on the file while it lives. At its start a process takes over the files without a
living owner, so that a pod that starts on the volume of its predecessor delivers what that pod left.

A dead letter has an id of its own for as long as it lies here, whichever process takes its file over: by that
id people name it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from piko.clock import SystemClock
from piko.identity import Ids
from piko.spool.owned_file import OwnedFile, as_spool_error, ranges

_TABLES = """
CREATE TABLE IF NOT EXISTS intent (
  id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, body TEXT NOT NULL,
  put_at INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER))
);
CREATE INDEX IF NOT EXISTS ix_intent_sink ON intent (sink, id);
CREATE TABLE IF NOT EXISTS dead_letter (
  letter_id TEXT PRIMARY KEY, sink TEXT NOT NULL, body TEXT NOT NULL,
  error TEXT NOT NULL, died_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS ix_dead_letter_sink ON dead_letter (sink, died_at);
"""
_BURY = """
INSERT INTO dead_letter (letter_id, sink, body, error, died_at)
VALUES (?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
"""
# A body begins with key, job and run.
_OF_JOB_AND_RUN = """
(? IS NULL OR json_extract(body, '$[1]') = ?) AND (? IS NULL OR json_extract(body, '$[2]') = ?)
"""
_WAITING_OF = f"SELECT sink, count(*) FROM intent WHERE {_OF_JOB_AND_RUN} GROUP BY sink"  # noqa: S608 - constants alone
_DEAD = "SELECT letter_id, sink, body, error, died_at FROM dead_letter"
_DEAD_OF = f"{_DEAD} WHERE {_OF_JOB_AND_RUN} ORDER BY letter_id"


class SpooledIntent(NamedTuple):
    """One intent in the spool, still as text."""

    id: int
    body: str


class DeadIntent(NamedTuple):
    """An intent that becomes a dead letter: by its id in the spool, or as text if it is not there."""

    error: str
    id: int | None = None
    body: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An intent that its sink refused, with the error; ids grow with time."""

    letter_id: str
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
        self._ids = Ids(SystemClock())

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
                connection.execute(_BURY, (self._ids.new(), sink, text, error))

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

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """The newest dead letters."""
        with as_spool_error(self.path):
            rows = self._connection.execute(f"{_DEAD} ORDER BY letter_id DESC LIMIT ?", (limit,))
            return [DeadLetter(*row) for row in rows]

    def sinks_of(self, letter_ids: Sequence[str]) -> dict[str, str]:
        """The sink of each of `letter_ids` that is here."""
        statement = "SELECT letter_id, sink FROM dead_letter WHERE letter_id = ?"
        with as_spool_error(self.path):
            rows = [row for item in letter_ids for row in self._connection.execute(statement, (item,))]
        return dict(rows)

    def oldest(self, sink: str) -> int | None:
        """When the first of the intents that wait for `sink` was put here, in seconds since 1970."""
        with as_spool_error(self.path):
            row = self._connection.execute(
                "SELECT put_at FROM intent WHERE sink = ? ORDER BY id LIMIT 1", (sink,)
            ).fetchone()
            return None if row is None else int(row[0])

    def replay(self, letter_ids: Sequence[str]) -> int:
        """Move dead letters behind the intents, to be delivered again; how many were here."""
        moved = 0
        with self._transaction() as connection:
            for item in letter_ids:
                connection.execute(
                    "INSERT INTO intent (sink, body) SELECT sink, body FROM dead_letter WHERE letter_id = ?",
                    (item,),
                )
                moved += connection.execute("DELETE FROM dead_letter WHERE letter_id = ?", (item,)).rowcount
        return moved

    def drop(self, letter_ids: Sequence[str]) -> int:
        """Delete dead letters; how many were here."""
        with self._transaction() as connection:
            ids = [(item,) for item in letter_ids]
            return connection.executemany("DELETE FROM dead_letter WHERE letter_id = ?", ids).rowcount

    def adopt(self, other: SpoolFile) -> None:
        """Move the contents of `other` here, then delete it; a crash in between causes a second delivery."""
        with as_spool_error(other.path):
            self._connection.execute("ATTACH DATABASE ? AS other", (str(other.path),))
            try:
                with self._transaction() as connection:
                    connection.execute(
                        "INSERT INTO intent (sink, body, put_at) "
                        "SELECT sink, body, put_at FROM other.intent ORDER BY id"
                    )
                    connection.execute(
                        "INSERT OR IGNORE INTO dead_letter (letter_id, sink, body, error, died_at) "
                        "SELECT letter_id, sink, body, error, died_at FROM other.dead_letter"
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
    return [DeadLetter(*row) for row in rows]

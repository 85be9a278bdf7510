"""The spool of a running process: its own file, and the thread that alone uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from piko.errors import SpoolError
from piko.observability.logs import get_logger
from piko.spool.intents import DeadIntent, DeadLetter, SpooledIntent, SpoolFile
from piko.spool.owned_file import SpoolInUseError, make_folder

T = TypeVar("T")

log = get_logger(__name__)


class Spool:
    """The spool as the writer uses it: calls go to the thread that owns the file.

    `former` are the names of the files that were taken over at the start, and `changes` grows whenever the
    dead letters change.
    """

    def __init__(self, folder: Path, *, name: str, fsync: bool = True) -> None:
        self.folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._name = name
        self._fsync = fsync
        self._file: SpoolFile | None = None
        self.former: list[str] = []
        self.changes = 0

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
        self.changes += 1

    async def counts(self) -> dict[str, int]:
        return await self.call(lambda: self._opened.counts())

    async def dead_counts(self) -> dict[str, tuple[int, str]]:
        return await self.call(lambda: self._opened.dead_counts())

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        return await self.call(lambda: self._opened.dead_letters(limit))

    async def sinks_of(self, letter_ids: Sequence[str]) -> dict[str, str]:
        return await self.call(lambda: self._opened.sinks_of(letter_ids))

    async def oldest(self, sinks: Sequence[str]) -> dict[str, int | None]:
        return await self.call(lambda: {sink: self._opened.oldest(sink) for sink in sinks})

    async def replay(self, letter_ids: Sequence[str]) -> int:
        moved = await self.call(lambda: self._opened.replay(letter_ids))
        self.changes += 1
        return moved

    async def drop(self, letter_ids: Sequence[str]) -> int:
        dropped = await self.call(lambda: self._opened.drop(letter_ids))
        self.changes += 1
        return dropped

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
        else:
            self.former.append(path.stem)

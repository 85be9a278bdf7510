"""The logs of runs, as those who follow them read them: one look for all of them.

While somebody follows a log, one task looks every `LOOK_S` seconds which of the followed runs have said
something, and reads those logs, each once. A follower is a number, the lines that it has had: a slow one
holds up nobody, and where more was logged than is kept, it reads how many lines were left out.

A stream ends with its run: its replica writes the last lines about a second after the end.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.background.waiting import end, happens
from piko.core.types import FINAL_STATES
from piko.errors import PikoError
from piko.observability.logs import get_logger
from piko.store.engine import Database
from piko.store.reports.run_logs import LogStamp, RunLogReader, RunLogReport

LOOK_S = 1.0
KEEPALIVE_S = 15.0
"""A proxy ends what is silent for long."""
_LAST_LOOKS = 3
"""Looks after the end of a run in which nothing new was written."""
_RETRY_MS = 2000

log = get_logger(__name__)


@dataclass(slots=True)
class _Followed:
    """One run: what it has said, and in how many looks since its end nothing was new."""

    stamp: LogStamp | None = None
    report: RunLogReport | None = None
    looks: int = 0
    quiet_looks: int = 0

    def take(self, stamp: LogStamp | None, report: RunLogReport | None) -> bool:
        """One look has found this, and no `report` where nothing is new; whether followers are to know."""
        self.quiet_looks = self.quiet_looks + 1 if stamp == self.stamp else 0
        self.looks += 1
        self.stamp = stamp
        self.report = report or self.report
        return report is not None or self.is_over

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come of it; a run without a row was pruned."""
        if self.stamp is None:
            return self.looks > 0
        return self.stamp.state in FINAL_STATES and self.quiet_looks >= _LAST_LOOKS


class LogFeed:
    """Looks at `database` for all followers, of whom there are at most `most`.

    Everything belongs to one event loop, but for `close`.
    """

    def __init__(self, *, database: Database, most: int) -> None:
        self._reader = RunLogReader(database=database)
        self._most = most
        self._followers: Counter[str] = Counter()
        self._runs: dict[str, _Followed] = {}
        self._news = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether there is no room for one more follower."""
        return self._followers.total() >= self._most

    def close(self) -> None:
        """End every stream; may be called from another thread."""
        self._loop.call_soon_threadsafe(self._close)

    async def follow(self, run_id: str, *, after: int) -> AsyncIterator[bytes]:
        """The events of one follower who has had the first `after` lines: `lines`, `progress` and `ended`."""
        followed = self._enter(run_id)
        progress = ""
        try:
            yield f"retry: {_RETRY_MS}\n\n".encode()
            while not self._closed:
                said, stamp = followed.report, followed.stamp
                if said is not None and said.line_count > after:
                    lines, after = said.lines(after=after), said.line_count
                    yield _event("lines", lines, number=after)
                if said is not None and said.progress != progress:
                    progress = said.progress
                    yield _event("progress", progress, number=after)
                if followed.is_over:
                    yield _event("ended", None if stamp is None else stamp.state, number=after)
                    return
                if not await happens(self._news.wait(), within_s=KEEPALIVE_S):
                    yield b": keepalive\n\n"
        finally:
            await self._leave(run_id)

    # ---- followers ---------------------------------------------------------------------------------

    def _enter(self, run_id: str) -> _Followed:
        self._followers[run_id] += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on(), name="log feed")
        return self._runs.setdefault(run_id, _Followed())

    async def _leave(self, run_id: str) -> None:
        self._followers[run_id] -= 1
        if not self._followers[run_id]:
            del self._followers[run_id], self._runs[run_id]
        if not self._followers and self._looking is not None:
            looking, self._looking = self._looking, None
            await end(looking)

    def _close(self) -> None:
        self._closed = True
        self._news.set()

    # ---- looking -----------------------------------------------------------------------------------

    async def _look_on(self) -> None:
        away = Transient(
            errors=(PikoError,), report=self._failed, backoff=Backoff(first_s=1.0, longest_s=15.0)
        )
        await repeat(self._look, pause_s=LOOK_S, transient=[away])

    async def _look(self) -> None:
        asked = list(self._runs)
        stamps = await self._reader.stamps(asked)
        said = [run_id for run_id, stamp in stamps.items() if self._says_more(run_id, stamp)]
        reports = await self._reader.of_runs(said)
        there = [run_id for run_id in asked if run_id in self._runs]
        news = [self._runs[run_id].take(stamps.get(run_id), reports.get(run_id)) for run_id in there]
        if any(news) and not self._closed:
            self._news.set()
            self._news.clear()

    def _says_more(self, run_id: str, stamp: LogStamp) -> bool:
        followed = self._runs.get(run_id)
        if followed is None or stamp.line_count is None:
            return False
        return followed.stamp != stamp or followed.report is None

    def _failed(self, error: Exception) -> None:
        log.warning("logs_not_read", error=str(error))


def _event(kind: str, data: object, *, number: int) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()

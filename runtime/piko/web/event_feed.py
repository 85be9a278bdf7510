"""What happens, as pages hear of it: one look at the database for all of them.

However many pages are open, one task looks, every `LOOK_S` seconds, and only while somebody listens. What it
finds goes into one short history that all listeners read at their own pace: a listener is a number, the last
event that it has, so a slow one holds up nobody and keeps nothing. One that has fallen out of the history, or
comes back with the id of another process, is sent `reset`: read everything again.

An event is a hint. It names what to read again and never holds what a reader might not see, so it needs no
rights of its own beyond those that reading needs.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from piko.background.backoff import Backoff
from piko.clock import Clock
from piko.identity import Ids
from piko.observability.logs import get_logger
from piko.store.engine import Database
from piko.store.reports.happenings import MOST, Happenings, JobChangeSeen, happenings_since
from piko.web.shared_look import KEEPALIVE, SharedLook

LOOK_S = 2.0
_KEPT = 200
_RETRY_MS = 5000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEvent:
    """One event: its number, of which kind it is, and what it names."""

    number: int
    kind: str
    data: str


class EventFeed:
    """Looks at `database` for all listeners, of which there are at most `most`."""

    def __init__(self, *, database: Database, clock: Clock, most: int) -> None:
        self._database = database
        self._boot = Ids(clock).new()
        self._kept: deque[FeedEvent] = deque(maxlen=_KEPT)
        self._last = 0
        self._seen = _Seen()
        self.shared = SharedLook(
            self._look,
            name="event feed",
            pause_s=lambda: LOOK_S,
            backoff=Backoff(first_s=2.0, longest_s=30.0),
            failed=_failed,
            most=most,
        )

    async def listen(self, last_id: str | None) -> AsyncIterator[bytes]:
        """The lines of one listener's stream, after the event `last_id` of an earlier stream."""
        if self.shared.idle:
            self._begin()
        async with self.shared.followed():
            yield f"retry: {_RETRY_MS}\n\n".encode()
            at = self._place_of(last_id)
            if at is None:
                at = self._last
                yield self._line(FeedEvent(number=at, kind="reset", data="{}"))
            while not self.shared.closed:
                if at < self._last:
                    for event in self._after(at):
                        at = event.number
                        yield self._line(event)
                elif not await self.shared.news():
                    yield KEEPALIVE

    def _begin(self) -> None:
        """What happened while nobody listened is not in the history: who comes back reads again."""
        self._last += 1
        self._kept.clear()
        self._seen = _Seen()

    def _place_of(self, last_id: str | None) -> int | None:
        """After which event a stream goes on; None: what came after `last_id` is not known."""
        if last_id is None:
            return self._last
        boot, _, number = last_id.rpartition("-")
        if boot != self._boot or not number.isdecimal() or len(number) > 18:
            return None
        first = self._kept[0].number if self._kept else self._last + 1
        return int(number) if first - 1 <= int(number) <= self._last else None

    def _after(self, at: int) -> list[FeedEvent]:
        """The events after `at`; a reset where some of them are not kept any more."""
        if not self._kept or self._kept[0].number > at + 1:
            return [FeedEvent(number=self._last, kind="reset", data="{}")]
        return list(islice(self._kept, at + 1 - self._kept[0].number, None))

    def _line(self, event: FeedEvent) -> bytes:
        return f"id: {self._boot}-{event.number}\nevent: {event.kind}\ndata: {event.data}\n\n".encode()

    async def _look(self) -> bool:
        found = await happenings_since(self._database, self._seen.since)
        events = list(self._seen.news(found))
        for kind, data in events:
            self._last += 1
            self._kept.append(FeedEvent(number=self._last, kind=kind, data=json.dumps(data)))
        return bool(events)


def _failed(error: Exception) -> None:
    log.warning("events_not_read", error=str(error))


class _Seen:
    """What the looks so far have found, to say what is new. It holds what one look may find again."""

    def __init__(self) -> None:
        self.since: datetime | None = None
        self._runs: frozenset[str] = frozenset()
        self._jobs: frozenset[JobChangeSeen] = frozenset()
        self._leaders: object = None

    def news(self, found: Happenings) -> Iterator[tuple[str, dict[str, object]]]:
        """Kind and data of an event for each kind of news; what the first look finds is not new."""
        if self.since is not None:
            yield from self._news(found)
        self._runs = frozenset(run.run_id for run in found.runs)
        self._jobs = frozenset(found.jobs)
        self._leaders = found.leaders
        self.since = found.now

    def _news(self, found: Happenings) -> Iterator[tuple[str, dict[str, object]]]:
        runs = [run for run in found.runs if run.run_id not in self._runs]
        if runs:
            shown = [{"run_id": run.run_id, "job_id": run.job_id, "state": run.state} for run in runs]
            yield "runs_ended", {"runs": shown, "more": len(found.runs) == MOST}
        jobs = sorted({job.job_id for job in found.jobs if job not in self._jobs})
        if jobs:
            yield "jobs_changed", {"jobs": jobs, "more": len(found.jobs) >= MOST}
        if found.leaders != self._leaders:
            yield "leader_changed", {"leaders": [name for name, *_ in found.leaders]}

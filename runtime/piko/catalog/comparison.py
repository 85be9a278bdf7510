"""Which rows of `scheduled_job` look changed, found without reading them all.

Each pass asks for the rows written lately and for a tally of the table: how many rows, and the sum of
their versions. If that is the tally of what is known with the recent rows put in, nothing else has changed: a
delete shows in it, and so does an edit that raised the version. Rows count as recent from `_OVERLAP` before
the last pass, for transactions that commit later than they write. What neither shows (a transaction held open
for longer, a time that was set back) shows in a checksum over every row. It costs the database more, so it is
part of the tally as often as it takes a hundredth of a second for each pass, and at least every
`_AT_LEAST_EVERY` passes: of small tables in each.

Only when a tally differs are the digests of all rows compared, in slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil

from piko.catalog.assessed_rows import AssessedRows
from piko.clock import Clock, Slices
from piko.model.digests import Digest, Recent, RunningTally, Tally
from piko.store.schedules import ScheduleStore

_OVERLAP = timedelta(seconds=10)
_AT_LEAST_EVERY = 60
_SHARE_S = 0.01
_PAGE = 500


class Comparison:
    """Compares rows with what is `known` of them; `put` and `drop` report what has been understood since."""

    def __init__(self, *, schedules: ScheduleStore, known: AssessedRows, clock: Clock) -> None:
        self._schedules = schedules
        self._known = known
        self._clock = clock
        self._tally = RunningTally()
        self._looked_at: datetime | None = None
        """When the last pass began that has been carried out, by the database's clock."""
        self._began: datetime | None = None
        self._until_checksum = 0

    def put(self, job_id: str, digest: Digest) -> None:
        """The row of `job_id` is about to be known as `digest`."""
        self.drop(job_id)
        self._tally.put(job_id, digest)

    def drop(self, job_id: str) -> None:
        """The row of `job_id` is about to be forgotten, if it is known."""
        before = self._known.get(job_id)
        if before is not None:
            self._tally.drop(job_id, before.row.digest)

    async def begin(self) -> None:
        """All rows are about to be read: what is written from now on is for the next look."""
        now = self._clock.now()
        recent = await self._schedules.recent(since=now, checksum=False)
        self._began = None if recent is None else recent.at

    async def look(self) -> tuple[set[str], set[str]]:
        """The jobs whose rows look changed, and those whose rows were deleted."""
        recent = await self._recent()
        if recent is None:
            return await self._compare_all()
        self._began = recent.at
        suspects = await self._differing(recent.digests)
        if self._with_recent(recent, suspects).equals(recent.tally):
            return suspects, set()
        return await self._compare_all()

    def done(self) -> None:
        """What the last look found has been understood; without this the next one finds it again."""
        self._looked_at = self._began

    async def _recent(self) -> Recent | None:
        """The rows written lately."""
        checksum = self._until_checksum <= 0
        began = self._clock.monotonic()
        since = self._clock.now() if self._looked_at is None else self._looked_at - _OVERLAP
        recent = await self._schedules.recent(since=since, checksum=checksum)
        self._until_checksum -= 1
        if checksum:
            cost = ceil((self._clock.monotonic() - began) / _SHARE_S) - 1
            self._until_checksum = min(cost, _AT_LEAST_EVERY - 1)
        return recent

    def _with_recent(self, recent: Recent, suspects: set[str]) -> Tally:
        """The tally of what is known, with the rows of `suspects` as they are now."""
        tally = self._tally.now
        for job_id in suspects:
            if (before := self._known.get(job_id)) is not None:
                tally = tally.without_row(job_id, before.row.digest)
            tally = tally.with_row(job_id, recent.digests[job_id])
        return tally

    async def _compare_all(self) -> tuple[set[str], set[str]]:
        digests = await self._schedules.digests()
        return await self._differing(digests), self._known.keys() - digests.keys()

    async def _differing(self, digests: Mapping[str, Digest]) -> set[str]:
        slices = Slices(self._clock)
        found = set()
        for number, (job_id, digest) in enumerate(digests.items()):
            if number % _PAGE == 0:
                await slices.pause()
            known = self._known.get(job_id)
            if known is None or known.row.digest != digest:
                found.add(job_id)
        return found

"""Records that sinks refused, noted in the rows of their runs.

A run ends before its records are delivered, and is `SUCCESS` even if none of them arrives. So its row states
how many records its sinks refused, and the command that shows them. While the database is unavailable, the
note waits. A note that is not written before the process ends is lost; the dead letters and the log remain.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

from piko.background.periodic import repeat
from piko.errors import DatabaseUnavailableError
from piko.observability.logs import get_logger
from piko.store.run_notes import REFUSED, RunNotes

_GATHER_S = 1.0
_MOST_RUNS = 10_000
_TRIES = 600

log = get_logger(__name__)


class RefusedRecords:
    """Counts refused records by run, and writes the counts to the rows of the runs."""

    name = "refusals"

    def __init__(self, *, notes: RunNotes) -> None:
        self._notes = notes
        self._counts: dict[str, Counter[str]] = {}
        self._unreported: dict[str, int] = {}
        """Runs whose row lacks the current count, with the number of tries to write it."""
        self._arrived = asyncio.Event()

    def add(self, sink: str, run_ids: Iterable[str]) -> None:
        """Count one more record that `sink` refused for each of `run_ids`."""
        for run_id in run_ids:
            self._counts.setdefault(run_id, Counter())[sink] += 1
            self._unreported[run_id] = 0
        while len(self._counts) > _MOST_RUNS:
            oldest = next(iter(self._counts))
            del self._counts[oldest]
            self._unreported.pop(oldest, None)
        self._arrived.set()

    async def run(self) -> None:
        """Write counts until cancelled."""
        await repeat(self._gather, pause_s=lambda: 0.0 if self._unreported else None, wake=self._arrived)

    async def _gather(self) -> None:
        """Write counts after a moment, so that the records of one run share a write."""
        if self._unreported:
            await asyncio.sleep(_GATHER_S)
            await self.report()

    async def report(self) -> None:
        """Write the counts that are due; the row of a run that has not ended yet is tried again."""
        for run_id in list(self._unreported):
            text = _text(run_id, self._counts[run_id])
            try:
                written = await self._notes.refused(run_id, text)
            except DatabaseUnavailableError as error:
                log.warning("refusals_noted_later", runs=len(self._unreported), error=str(error))
                return
            tries = self._unreported[run_id] = self._unreported[run_id] + 1
            if written or tries >= _TRIES:
                del self._unreported[run_id]


def _text(run_id: str, counts: Counter[str]) -> str:
    by_sink = ", ".join(f"{count} by sink {sink}" for sink, count in sorted(counts.items()))
    return f"{REFUSED}{by_sink}; piko spool list --run {run_id}"

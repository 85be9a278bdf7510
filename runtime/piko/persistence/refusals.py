"""Records that sinks refused, told at their runs.

A run is over before its records are delivered, and `SUCCESS` though none of them may have arrived. So its row
says how many its sinks refused, and which command shows them. Where the database is away that waits; what is
not told when the process ends is in the dead letters and the log all the same.
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
    """Counts refused records by run, and tells the counts to the database."""

    name = "refusals"

    def __init__(self, *, notes: RunNotes) -> None:
        self._notes = notes
        self._counts: dict[str, Counter[str]] = {}
        self._untold: dict[str, int] = {}
        """Runs whose count is not at their row yet, and how often that was tried."""
        self._arrived = asyncio.Event()

    def add(self, sink: str, run_ids: Iterable[str]) -> None:
        """One more record of each of `run_ids` was refused by `sink`."""
        for run_id in run_ids:
            self._counts.setdefault(run_id, Counter())[sink] += 1
            self._untold[run_id] = 0
        while len(self._counts) > _MOST_RUNS:
            oldest = next(iter(self._counts))
            del self._counts[oldest]
            self._untold.pop(oldest, None)
        self._arrived.set()

    async def run(self) -> None:
        """Tell, until cancelled."""
        await repeat(self._gather, pause_s=lambda: 0.0 if self._untold else None, wake=self._arrived)

    async def _gather(self) -> None:
        """Tell after a moment, so that records of one run are told together."""
        if self._untold:
            await asyncio.sleep(_GATHER_S)
            await self.tell()

    async def tell(self) -> None:
        """Tell what can be told now: a run that is not over yet is tried again."""
        for run_id in list(self._untold):
            text = _text(run_id, self._counts[run_id])
            try:
                told = await self._notes.refused(run_id, text)
            except DatabaseUnavailableError as error:
                log.warning("refusals_told_later", runs=len(self._untold), error=str(error))
                return
            tries = self._untold[run_id] = self._untold[run_id] + 1
            if told or tries >= _TRIES:
                del self._untold[run_id]


def _text(run_id: str, counts: Counter[str]) -> str:
    by_sink = ", ".join(f"{count} by sink {sink}" for sink, count in sorted(counts.items()))
    return f"{REFUSED}{by_sink}; piko spool list --run {run_id}"

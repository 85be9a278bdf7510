"""Rows into a term: what the leader takes over of them, and what it writes about it.

A row that the term has not met may be the next one of a job that had one before. So its state is read first,
and with it how far the job had come; what the row lacks of that is written into it before a claim is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from piko.clock import Clock
from piko.core.types import JobStatus
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove, Watermarks
from piko.observability.logs import get_logger
from piko.store.progress import ProgressStore
from piko.store.states import StateStore

if TYPE_CHECKING:
    from piko.scheduler.writes import Writes

_TOGETHER = 250
"""Rows that are adopted together."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What is to be written of rows that a term has taken over."""

    states: Sequence[JobState]
    gone: Sequence[str]
    """Jobs whose rows were deleted."""
    resumed: Sequence[str]
    """Jobs with a new row that goes on from the cursor of the one before."""
    restore: Sequence[WatermarkMove]
    """Watermarks that new rows lack."""
    copy: Collection[str]
    """Jobs whose watermark somebody else has written."""


class Adoption:
    """Has a term adopt rows, and writes what comes of it: no job at another's cost."""

    def __init__(self, *, states: StateStore, kept: ProgressStore, clock: Clock) -> None:
        self._states = states
        self._kept = kept
        self._clock = clock

    async def adopt(self, writes: Writes, job_ids: Collection[str]) -> None:
        """Take over what the catalog says of `job_ids`. Raises `FencedError`."""
        ordered = sorted(job_ids)
        for start in range(0, len(ordered), _TOGETHER):
            await self._adopt(writes, ordered[start : start + _TOGETHER])
            await asyncio.sleep(0)  # ten thousand rows at once must not stop the event loop

    async def _adopt(self, writes: Writes, job_ids: Sequence[str]) -> None:
        term = writes.term
        unmet = term.unmet(job_ids)
        if unmet:
            term.meet(unmet, await writes.insist(lambda: self._states.read(unmet)))
        adopted = term.adopt(job_ids, self._clock.now())
        waits = await self._restore(writes, adopted.restore) if adopted.restore else set()
        states = [state for state in adopted.states if state.job_id not in waits]
        if states:
            await writes.states(states)
        if adopted.gone:
            await self._mark_gone(writes, adopted.gone)
        if adopted.copy:
            await writes.isolated(
                "a copy of its watermark",
                lambda jobs: self._kept.copy(adopted.copy if jobs is None else jobs, term.fence),
                jobs=lambda: adopted.copy,
            )
        _tell(adopted, states, waits)

    async def _restore(self, writes: Writes, moves: Sequence[WatermarkMove]) -> set[str]:
        """Write watermarks into new rows; the jobs whose rows could not be had."""
        fence = writes.term.fence
        written = await writes.isolated(
            "its watermark",
            lambda jobs: self._kept.restore(
                [move for move in moves if jobs is None or move.job_id in jobs], fence
            ),
            jobs=lambda: [move.job_id for move in moves],
        )
        found: Watermarks = {}
        for part in written.results:
            found.update(part)
        return writes.term.restored(moves, found)

    async def _mark_gone(self, writes: Writes, job_ids: Sequence[str]) -> None:
        fence, now = writes.term.fence, self._clock.now()
        await writes.isolated(
            "its row of job_state",
            lambda jobs: self._kept.mark_gone(job_ids if jobs is None else jobs, fence, now=now),
            jobs=lambda: job_ids,
        )


def _tell(adopted: Adopted, states: Sequence[JobState], waits: Collection[str]) -> None:
    watermarks = {move.job_id: move.new for move in adopted.restore}
    by_job = {state.job_id: state for state in states}
    for job_id in sorted({*adopted.resumed, *watermarks} - {*waits}):
        state, watermark = by_job.get(job_id), watermarks.get(job_id)
        log.info(
            "progress_restored",
            job_id=job_id,
            watermark=None if watermark is None else watermark.isoformat(),
            cursor=None if state is None or state.cursor_at is None else state.cursor_at.isoformat(),
            hint="the row is new and goes on from the one before; `piko forget JOB` prevents that",
        )
    for state in states:
        if state.status == JobStatus.WAITING_FOR_CONFIG:
            log.warning("job_waits", job_id=state.job_id, why=state.message)

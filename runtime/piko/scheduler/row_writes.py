"""Effects on the jobs' rows and states, and on the revisions of their configs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.clock import Clock
from piko.decisions.events import StatesRead, StatesWritten, WatermarksRestored
from piko.decisions.refusals import JOB_STATE, Refusals
from piko.model.fences import Fence
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove, Watermarks
from piko.scheduler.insistence import Insistence
from piko.scheduler.isolated_writes import IsolatedWrites, of_jobs
from piko.store.configs import ConfigStore
from piko.store.progress import ProgressStore
from piko.store.states import StateStore


class RowWrites:
    """Writes what comes of rows that were taken in, in one term. Everything raises `FencedError`."""

    def __init__(
        self,
        *,
        fence: Fence,
        insist: Insistence,
        writes: IsolatedWrites,
        refusals: Refusals,
        catalog: Catalog,
        configs: ConfigBook,
        config_rows: ConfigStore,
        states: StateStore,
        progress: ProgressStore,
        clock: Clock,
    ) -> None:
        self._fence = fence
        self._insist = insist
        self._writes = writes
        self._refusals = refusals
        self._catalog = catalog
        self._configs = configs
        self._config_rows = config_rows
        self._states = states
        self._progress = progress
        self._clock = clock
        self._locked: set[str] = set()

    async def read_states(self, job_ids: Sequence[str]) -> StatesRead:
        """What the database knows of these jobs."""
        states = await self._insist(lambda: self._states.read(job_ids))
        return StatesRead(job_ids=job_ids, states=states, now=self._clock.now())

    async def write_states(self, states: Sequence[JobState]) -> StatesWritten:
        """Write states; those that somebody holds are for `try_again`."""
        written = await self._writes.write(
            JOB_STATE,
            lambda jobs: self._states.write(of_jobs(states, jobs), self._fence),
            jobs=lambda: [state.job_id for state in states],
        )
        self.take_in_later(written.held)
        return StatesWritten(held=written.held)

    def take_in_later(self, job_ids: Collection[str]) -> None:
        """Something of these jobs could not be written: they are for `try_again`."""
        self._locked |= set(job_ids)

    def try_again(self) -> None:
        """Have the jobs taken in again of which something could not be written."""
        if self._locked:
            locked, self._locked = self._locked, set()
            self._catalog.touch(locked)

    async def restore(self, moves: Sequence[WatermarkMove]) -> WatermarksRestored:
        """Write watermarks into new rows."""
        written = await self._writes.write(
            "its watermark",
            lambda jobs: self._progress.restore(of_jobs(moves, jobs), self._fence),
            jobs=lambda: [move.job_id for move in moves],
        )
        found: Watermarks = {}
        for part in written.results:
            found.update(part)
        return WatermarksRestored(moves=moves, found=found)

    async def mark_deleted(self, job_ids: Sequence[str]) -> None:
        """Keep the states of jobs whose rows were deleted for the next ones."""
        now = self._clock.now()
        await self._writes.write(
            "its row of job_state",
            lambda jobs: self._progress.mark_deleted(job_ids if jobs is None else jobs, self._fence, now=now),
            jobs=lambda: job_ids,
        )

    async def copy_watermarks(self, job_ids: Collection[str]) -> None:
        """Copy the watermarks that others wrote."""
        await self._writes.write(
            "a copy of its watermark",
            lambda jobs: self._progress.copy(job_ids if jobs is None else jobs, self._fence),
            jobs=lambda: job_ids,
        )

    async def record_revisions(self) -> None:
        """Write down the revisions of configs that are not recorded yet."""
        if not (waiting := self._configs.unrecorded()):
            return
        now = self._clock.now()
        revisions = [item for item in waiting if self._refusals.held(item.job_id, now) is None]
        if not revisions:
            return
        written = await self._writes.write(
            "a revision of the config",
            lambda jobs: self._config_rows.record(of_jobs(revisions, jobs), self._fence),
            jobs=lambda: [item.job_id for item in revisions],
        )
        self._configs.recorded(item for item in revisions if item.job_id not in written.left_out)

"""Keeps `data_deadline` as the rows are, while this replica leads.

An instant is found again when it is about to pass, and as long as it has passed. It is found at once where an
edit may have brought it nearer, of which the reconciler knows. And some rows are looked at in turn, whatever
was heard of them. So a run writes nothing here: the instants of jobs that go well are moved many at a time,
each once for a due time at most, and not before it would pass.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from piko.background.periodic import Transient, repeat
from piko.background.rest import Rest
from piko.catalog.catalog import Catalog
from piko.clock import Clock, Slices
from piko.errors import DatabaseUnavailableError, FencedError
from piko.leadership.elector import Elector, leadership
from piko.model.fences import Fence
from piko.model.objectives import data_late_at
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.chunks import chunks
from piko.store.data_deadlines import DataDeadlineStore, DeadlineKey

_AHEAD = timedelta(seconds=15)
_EVERY_S = 2.0
_RESTS = 20.0
"""How many times as long as a look took is rested after it."""
_PAGE = 1000
_IN_TURN = 20
_TOGETHER = 500

log = get_logger(__name__)


class DataDeadlines:
    """Looks every two seconds while `elector` leads; `timezone` is that of schedules that name none."""

    name = "data_deadlines"

    def __init__(
        self,
        *,
        store: DataDeadlineStore,
        catalog: Catalog,
        elector: Elector,
        clock: Clock,
        metrics: Metrics,
        timezone: str,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._elector = elector
        self._clock = clock
        self._metrics = metrics
        self._timezone = timezone
        self._rest = Rest(times=_RESTS, least_s=_EVERY_S)
        self._took_s = 0.0
        self._due_after: DeadlineKey | None = None
        self._in_turn_after = ""
        self._pending: set[str] = set()
        """Jobs whose deadline may be nearer than is written."""

    async def run(self) -> None:
        """Look, until cancelled."""
        away = Transient(errors=(DatabaseUnavailableError,), report=self._failed)
        await repeat(self._look_if_leading, pause_s=self._pause_s, transient=[away])

    def _pause_s(self) -> float:
        return self._rest.after_s(self._took_s)

    async def _look_if_leading(self) -> None:
        fence = await leadership(self._elector)
        began = self._clock.monotonic()
        try:
            await self.look(fence)
        except FencedError:
            self._elector.deposed(fence)
        self._took_s = self._clock.monotonic() - began

    async def look(self, fence: Fence) -> None:
        """Find once what is to be found again. Raises `FencedError` and `DatabaseUnavailableError`."""
        nearer = self._catalog.nearer.take()
        self._pending |= {*self._catalog.assessed_rows} if nearer is None else nearer
        wanted = {*self._pending, *await self._due(), *await self._in_turn()}
        wanted.update(await self._store.astray(limit=_PAGE))
        for chunk in chunks(wanted, size=_TOGETHER):
            await self._find(chunk, fence)
        self._pending = set()

    async def _due(self) -> set[str]:
        """Jobs whose deadline passes soon, or has passed: the next page of them."""
        soon = self._clock.now() + _AHEAD
        page = await self._store.by(soon, after=self._due_after, limit=_PAGE)
        self._due_after = page[-1] if len(page) == _PAGE else None
        return {job_id for _, job_id in page}

    async def _in_turn(self) -> list[str]:
        page = await self._store.following(self._in_turn_after, limit=_IN_TURN)
        self._in_turn_after = page[-1] if len(page) == _IN_TURN else ""
        return page

    async def _find(self, job_ids: Collection[str], fence: Fence) -> None:
        """Write down the deadlines of `job_ids` that differ from what is written."""
        found = await self._store.read(job_ids)
        slices = Slices(self._clock)
        moved: dict[str, datetime] = {}
        for job_id, data in found.items():
            await slices.pause()
            late_at = data_late_at(data.job, timezone=self._timezone)
            if late_at != data.written:
                moved[job_id] = late_at
        deleted = set(job_ids) - found.keys()
        if moved or deleted:
            await self._store.write(moved, fence, deleted=deleted)

    def _failed(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("data_deadlines_wait", error=str(error))

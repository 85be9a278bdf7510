"""Gives edits by SQL their line in `change_log`, while this replica leads.

A term begins with a look for every row that was written since it was compared last: what was edited while
nobody led gets its line then, too. From then on the reconciler says which rows were edited, which costs the
database nothing while nobody edits. Once an hour all rows are looked at again.

A row that a program edits every second does not fill the log: after some lines within a minute its further
edits wait, and become one line. Rows are compared in small transactions with rests between them, so that ten
thousand new ones hold up no run.

What a statement ends, a run or the last window of a backfill, gets here what else belongs to an end.
"""

from __future__ import annotations

import asyncio

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.background.rest import Rest
from piko.catalog.catalog import Catalog
from piko.clock import Clock
from piko.errors import DatabaseUnavailableError, FencedError
from piko.leadership.elector import Elector, leadership
from piko.model.fences import Fence
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.audited_backfills import AuditedBackfills
from piko.store.audited_rows import LINES_A_MINUTE, AuditedRows
from piko.store.chunks import chunks
from piko.store.ends_by_sql import EndsBySql
from piko.store.isolation import write_isolated

_TOGETHER = 100
_REST = Rest(times=3.0)
_AGAIN_S = 5.0
_ALL_EVERY_S = 3600.0

log = get_logger(__name__)


class Audit:
    """Looks for edited rows every `poll_interval_s`; a row gets at most `a_minute` lines within a minute."""

    name = "audit"

    def __init__(
        self,
        *,
        schedules: AuditedRows,
        configs: AuditedRows,
        backfills: AuditedBackfills,
        ends: EndsBySql,
        catalog: Catalog,
        elector: Elector,
        clock: Clock,
        metrics: Metrics,
        poll_interval_s: float,
        a_minute: int = LINES_A_MINUTE,
    ) -> None:
        self._tables = (schedules, configs)
        self._backfills = backfills
        self._ends = ends
        self._catalog = catalog
        self._elector = elector
        self._clock = clock
        self._metrics = metrics
        self._poll_interval_s = poll_interval_s
        self._a_minute = a_minute
        self._edited: dict[str, set[str]] = {table.name: set() for table in self._tables}
        self._put_off: dict[str, set[str]] = {table.name: set() for table in self._tables}
        self._term: Fence | None = None
        self._all_at = self._put_off_until = float("-inf")

    async def run(self) -> None:
        """Look, until cancelled."""
        away = Transient(
            errors=(DatabaseUnavailableError,), report=self._failed, backoff=Backoff.steady(_AGAIN_S)
        )
        await repeat(self.look, pause_s=self._poll_interval_s, transient=[away])

    async def look(self) -> None:
        """Settle what was edited since the last look. Raises `DatabaseUnavailableError`."""
        fence = await leadership(self._elector)
        now = self._clock.monotonic()
        for table, edited in zip(self._tables, self._take_edited(), strict=True):
            if edited is None:
                self._all_at = now
            else:
                self._edited[table.name] |= edited
            if now >= self._put_off_until:
                self._edited[table.name] |= self._put_off[table.name]
                self._put_off[table.name].clear()
        again, everything = now >= self._put_off_until, fence != self._term or now >= self._all_at
        if again:
            self._put_off_until = now + _AGAIN_S
        try:
            for table in self._tables:
                if everything:
                    self._edited[table.name] |= set(await table.suspects())
                await self._settle(table, fence)
            if again:
                await self._settle_backfills(fence)
                await self._complete(fence)
        except FencedError:
            self._elector.deposed(fence)
            return
        if everything:
            self._term, self._all_at = fence, now + _ALL_EVERY_S

    def _take_edited(self) -> tuple[set[str] | None, set[str] | None]:
        return self._catalog.edited_schedules.take(), self._catalog.edited_configs.take()

    async def _settle(self, table: AuditedRows, fence: Fence) -> None:
        waiting = self._edited[table.name]
        for chunk in chunks(waiting, size=_TOGETHER):
            began = self._clock.monotonic()
            written = await write_isolated(
                lambda some, chunk=chunk: table.settle_edits(  # type: ignore[misc]
                    chunk if some is None else some, fence, most_a_minute=self._a_minute
                ),
                jobs=lambda chunk=chunk: chunk,  # type: ignore[misc]
            )
            waiting -= {*chunk}
            self._put_off[table.name] |= written.held.union(*written.results)
            for job_id, why in written.refused.items():  # that row's trouble: the others go on
                log.error("edit_not_logged", table=table.name, job_id=job_id, why=why)
            await asyncio.sleep(_REST.after_s(self._clock.monotonic() - began))

    async def _settle_backfills(self, fence: Fence) -> None:
        edited = await self._backfills.settle_edits(fence, now=self._clock.now())
        if edited:
            log.info("backfills_edited", backfills=len(edited), first=edited[0])

    async def _complete(self, fence: Fence) -> None:
        cancelled = await self._ends.complete_runs(fence, now=self._clock.now())
        if cancelled:
            log.info("ends_completed", runs=len(cancelled), first=cancelled[0])
        for backfill_id in await self._ends.complete_backfills(fence, now=self._clock.now()):
            log.warning("backfill_ended_short", backfill_id=backfill_id, why="runs of it were ended by SQL")

    def _failed(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("audit_waits", error=str(error))

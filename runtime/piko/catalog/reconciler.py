"""Rows to catalog: level-triggered, on every replica.

Each pass compares `(job_id, version, updated_at)` of the rows with what was understood last time, as
`comparison.py` says. A difference in either direction counts, so an edit without a bumped version, a delete
and a slow transaction that commits late are all seen. Only rows that differ are read whole. Each pass also
reads some rows whole in turn, which finds an edit that set `updated_at` back. The first pass reads every row.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from datetime import datetime

from piko.background.periodic import Transient, repeat
from piko.catalog.catalog import Catalog
from piko.catalog.comparison import Comparison
from piko.catalog.configs import ConfigBook
from piko.catalog.jobs import AssessedRow, assess, seen
from piko.catalog.other_replicas import OtherReplicas
from piko.clock import Clock, Slices
from piko.core.registry import JobRegistry
from piko.core.types import JobStatus
from piko.errors import DatabaseUnavailableError
from piko.model.digests import Digest, Mark
from piko.model.schedules import ScheduleRow
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.configs import ConfigStore
from piko.store.schedules import ScheduleStore
from piko.text import listed

_IN_TURN = 50
"""Rows that each pass reads whole, whether they look changed or not."""

_TOGETHER = 20
"""Rows between two looks at the clock while all are read."""

_MOST_SORTED = 1_000
"""Jobs that the log shows in their order: to sort a hundred thousand would stop the event loop."""

log = get_logger(__name__)


class Reconciler:
    """Keeps `catalog` and `configs` equal to the rows, and wakes the scheduler."""

    name = "reconciler"

    def __init__(
        self,
        *,
        schedules: ScheduleStore,
        config_rows: ConfigStore,
        registry: JobRegistry,
        catalog: Catalog,
        configs: ConfigBook,
        clock: Clock,
        metrics: Metrics,
        other_replicas: OtherReplicas,
        poll_interval_s: float,
        timezone: str,
    ) -> None:
        self._schedules = schedules
        self._config_rows = config_rows
        self._registry = registry
        self._catalog = catalog
        self._configs = configs
        self._clock = clock
        self._metrics = metrics
        self._other_replicas = other_replicas
        self._poll_interval_s = poll_interval_s
        self._timezone = timezone
        self._config_digests: dict[str, Digest] = {}
        self._in_turn: list[str] = []
        self._config_mark: Mark | None = None
        self._unregistered: set[str] = set()
        self._invalid: set[str] = set()
        self._comparison = Comparison(schedules=schedules, known=catalog.assessed_rows, clock=clock)
        self._took_s = 0.0
        self._looked_at: datetime | None = None
        """When the last pass began."""

    async def run(self) -> None:
        """Compare every `poll_interval_s`, until cancelled."""
        away = Transient(errors=(DatabaseUnavailableError,), report=self._failed)
        await repeat(self._pass, pause_s=self._pause_s, transient=[away])

    def _pause_s(self) -> float:
        """A pass begins every interval, whatever its duration; a short pause lets others use the database."""
        return max(self._poll_interval_s - self._took_s, self._poll_interval_s / 10)

    async def _pass(self) -> None:
        before = self._clock.monotonic()
        try:
            await self.compare()
        finally:
            self._took_s = self._clock.monotonic() - before
            self._metrics.reconcile_duration.observe(self._took_s)
        if self._catalog.stale_since is not None:
            log.info("rows_read_again", away_since=self._catalog.stale_since.isoformat())
        self._catalog.stale_since = self._catalog.stale_reason = None
        self._metrics.reconciles.labels("ok").inc()
        self._metrics.rows_read.set(self._clock.now().timestamp())

    def _failed(self, error: Exception) -> None:
        self._catalog.contact.failed()
        self._metrics.db_errors.labels(self.name).inc()
        self._metrics.reconciles.labels("failed").inc()
        if self._catalog.stale_since is None:
            self._catalog.stale_since = self._clock.now()
            log.error("rows_not_read", error=str(error))
        self._catalog.stale_reason = str(error)

    async def compare(self) -> None:
        """One pass: the first one reads every row."""
        began, read_at = self._clock.now(), self._clock.monotonic()
        await self._compare_configs()
        self._catalog.contact.answered(self._clock.monotonic())
        changed, deleted = await self._compare_rows() if self._catalog.loaded else (await self._load(), set())
        self._looked_at = began
        self._comparison.done()
        self._catalog.edited_schedules.add(deleted)
        self._catalog.nearer.add(deleted)
        for job_id in deleted:
            self._forget(job_id)
        changed |= await self._ask_other_replicas()
        if changed or deleted:
            self._catalog.touch({*changed, *deleted})
            self._metrics.invalid_rows.set(len(self._invalid))
            jobs = [*changed, *deleted]
            shown = listed(sorted(jobs) if len(jobs) <= _MOST_SORTED else jobs)
            log.info("rows_changed", changed=len(changed), deleted=len(deleted), jobs=shown)
        self._catalog.loaded, self._catalog.read_at = True, read_at
        self._catalog.contact.answered(self._clock.monotonic())

    async def _load(self) -> set[str]:
        """Read every row; the jobs whose rows were not known so.

        What is edited or deleted meanwhile is for the next pass.
        """
        await self._comparison.begin()
        slices = Slices(self._clock)
        changed: set[str] = set()
        page = await self._schedules.page(after="")
        while page:
            self._catalog.contact.answered(self._clock.monotonic())
            now = self._clock.now()
            for number, row in enumerate(page):
                if number % _TOGETHER == 0:
                    await slices.pause()
                if self._take_over(row, now):
                    changed.add(row.job_id)
            gc.freeze()  # what is loaded stays; the collector would go through it again and again
            page = await self._schedules.page(after=page[-1].job_id)
        return changed

    async def _compare_rows(self) -> tuple[set[str], set[str]]:
        """Read the rows that look changed; the jobs whose rows have, and those that were deleted."""
        known = self._catalog.assessed_rows
        suspects, deleted = await self._comparison.look()
        self._catalog.contact.answered(self._clock.monotonic())
        suspects |= self._next_in_turn() - deleted
        doubted, self._catalog.doubted = self._catalog.doubted - deleted, set()
        doubted = {job_id for job_id in doubted if job_id in known}
        suspects |= doubted
        changed: set[str] = set()
        slices = Slices(self._clock)
        rows = await self._schedules.read(suspects) if suspects else []
        now = self._clock.now()
        for row in rows:
            await slices.pause()  # many rows at once must not stop the event loop
            if self._take_over(row, now):
                changed.add(row.job_id)
            elif row.job_id in doubted:
                self._catalog.touch({row.job_id})
        return changed, deleted

    def _take_over(self, row: ScheduleRow, now: datetime) -> bool:
        """Understand a row that was read at `now`; whether it was not known as it is."""
        before = self._catalog.assessed_rows.get(row.job_id)
        if before is not None and before.row == row:
            return False
        self._note_edit(row, None if before is None else before.row)
        assessed = assess(row, registry=self._registry, timezone=self._timezone)
        if assessed.status is JobStatus.INVALID and (before is None or before.message != assessed.message):
            log.warning("row_invalid", job_id=row.job_id, error=assessed.message)
        _warn(assessed, before)
        self._understand(seen(assessed, before, now=now, looked_at=self._looked_at))
        return True

    def _note_edit(self, row: ScheduleRow, before: ScheduleRow | None) -> None:
        edited = before is None or row.is_edit_of(before)
        if edited:
            self._catalog.edited_schedules.add([row.job_id])
        if edited or (before is not None and row.is_less_done_than(before)):
            self._catalog.nearer.add([row.job_id])

    def _understand(self, assessed: AssessedRow) -> None:
        job_id = assessed.row.job_id
        self._comparison.put(job_id, assessed.row.digest)
        self._catalog.assessed_rows[job_id] = assessed
        for status, job_ids in (
            (JobStatus.UNREGISTERED, self._unregistered),
            (JobStatus.INVALID, self._invalid),
        ):
            (job_ids.add if assessed.status is status else job_ids.discard)(job_id)

    def _forget(self, job_id: str) -> None:
        self._comparison.drop(job_id)
        self._unregistered.discard(job_id)
        self._invalid.discard(job_id)
        del self._catalog.assessed_rows[job_id]
        self._metrics.forget_job(job_id)

    async def _ask_other_replicas(self) -> set[str]:
        """Name the replica that has a job which is not registered here; the jobs whose message changed."""
        known = self._catalog.assessed_rows
        unregistered = self._unregistered
        messages = await self._other_replicas.messages(list(unregistered)) if unregistered else {}
        new = {job_id for job_id, message in messages.items() if known[job_id].message != message}
        for job_id in new:
            known[job_id] = replace(known[job_id], message=messages[job_id])
            log.warning("job_registered_by_other_replica", job_id=job_id, why=messages[job_id])
        return new

    def _next_in_turn(self) -> set[str]:
        known = self._catalog.assessed_rows
        if not self._in_turn:
            self._in_turn = list(known)
        taken = self._in_turn[-_IN_TURN:]
        del self._in_turn[-_IN_TURN:]
        return {job_id for job_id in taken if job_id in known}

    async def _compare_configs(self) -> None:
        mark = await self._config_rows.mark()
        if mark is not None and mark == self._config_mark:
            return
        digests = await self._config_rows.digests()
        changed = {key for key, digest in digests.items() if self._config_digests.get(key) != digest}
        deleted = self._config_digests.keys() - digests.keys()
        if changed:
            rows = await self._config_rows.read(changed)
            slices = Slices(self._clock)
            new = changed - self._config_digests.keys()
            if new:
                self._configs.load(new, await self._config_rows.revisions(new))
            for row in rows:
                await slices.pause()
                self._configs.observe([row])
                if (note := self._configs.note(row.job_id)) is not None:
                    log.warning("config_does_not_fit", job_id=row.job_id, why=note)
            log.info("configs_changed", jobs=listed(sorted(changed)))
        self._configs.drop(deleted)
        self._catalog.edited_configs.add(changed | deleted)
        if changed or deleted:
            self._catalog.touch(changed | deleted)  # a job may have waited for it, or its message changes
            self._metrics.invalid_configs.set(len(self._configs.refused()))
        self._config_digests, self._config_mark = digests, mark


def _warn(assessed: AssessedRow, before: AssessedRow | None) -> None:
    """Log once what in a row is probably a mistake."""
    warning = None if assessed.job is None else assessed.job.warning
    logged = None if before is None or before.job is None else before.job.warning
    if warning is not None and warning != logged:
        log.warning("row_doubtful", job_id=assessed.row.job_id, why=warning)

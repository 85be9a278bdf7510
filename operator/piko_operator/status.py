"""Writes the state of rows and runs into the status of resources.

This is the only writer of status: conditions are a list, and two writers of a list would overwrite each
other. The wanted status is computed from the mirror's record and the runtime's summary, and only the
difference from the current status is patched. A patch that fails for one resource affects no other, and is
retried after its own pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from piko.background.backoff import Backoff
from piko.background.periodic import repeat
from piko.clock import Clock
from piko.errors import DatabaseUnavailableError
from piko.model.summaries import ConfigSummary, JobSummary, RevisionSummary
from piko.observability.logs import get_logger
from piko.store.reports.summaries import Summaries
from piko.text import error_text, excerpt
from piko_operator.apart import apart
from piko_operator.cluster import Cluster, ClusterError
from piko_operator.conditions import (
    MESSAGE_LIMIT,
    config_ready,
    effective_revision,
    given_up,
    merge_conditions,
    merge_patch,
    outlook,
    ready,
    revision_conditions,
)
from piko_operator.events import Events
from piko_operator.inventory import JOB_CONFIG, SCHEDULE, Inventory, Seen
from piko_operator.metrics import OperatorMetrics
from piko_operator.news import news_of
from piko_operator.ownership import Condition, is_same_owner
from piko_operator.records import SyncRecord, SyncRecords
from piko_operator.resource_backoff import ResourceBackoff
from piko_operator.shapes import duration_text, instant_text

_BACKOFF = Backoff(first_s=1.0, longest_s=60.0)
_PATIENCE_S = 1.0
"""Seconds that a round waits for its patches; a slower patch continues in the background."""
_EVERY_KIND = ("Synced", "Ready", "Stalled", "Reconciling", "Drifted")
_CONDITIONS = {
    SCHEDULE: (*_EVERY_KIND, "DataGivenUp"),
    JOB_CONFIG: (*_EVERY_KIND, "Valid", "Effective"),
}

log = get_logger(__name__)


class StatusWriter:
    """Updates status periodically, and sooner when the mirror has news."""

    name = "status"

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        events: Events,
        inventory: Inventory,
        metrics: OperatorMetrics,
        owner: Callable[[Seen], str],
        records: SyncRecords,
        summaries: Summaries,
        interval_s: float,
        news: asyncio.Event,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._events = events
        self._inventory = inventory
        self._metrics = metrics
        self._owner = owner
        self._records = records
        self._summaries = summaries
        self._interval_s = interval_s
        self._news = news
        self._digests: dict[str, tuple[object, ...]] = {}
        self._backoff = ResourceBackoff(clock=clock, backoff=_BACKOFF)
        self._patches: dict[str, asyncio.Task[None]] = {}
        self.database_error: str | None = None

    async def run(self) -> None:
        """Update until cancelled."""
        try:
            await repeat(self.update, pause_s=self._interval_s, wake=self._news)
        finally:
            for task in self._patches.values():
                task.cancel()

    async def update(self) -> None:
        """Run one round over all resources."""
        now = self._clock.now()
        schedules, configs = self._inventory.all(SCHEDULE), self._inventory.all(JOB_CONFIG)
        try:
            ids = [seen.job_id for seen in schedules]
            jobs = await apart(self._summaries.jobs, ids, blame=self._unread)
            ids = [seen.job_id for seen in configs]
            rows = await apart(self._summaries.configs, ids, blame=self._unread)
            revisions = await apart(self._summaries.revisions, ids, blame=self._unread)
        except DatabaseUnavailableError as error:
            self.database_error = str(error)
            for seen in (*schedules, *configs):
                self._bring(seen, partial(self._without_database, now=now))
        else:
            self.database_error = None
            for seen in schedules:
                job = jobs.get(seen.job_id)
                self._look_for_drift(seen, job, ignored=(job.last_data_time, job.completed_at) if job else ())
                self._bring(seen, partial(self._schedule_status, job=job, now=now))
            for seen in configs:
                row, held = rows.get(seen.job_id), revisions.get(seen.job_id, [])
                self._look_for_drift(seen, row, ignored=())
                self._bring(seen, partial(self._config_status, row=row, revisions=held, now=now))
        if self._patches:
            await asyncio.wait(self._patches.values(), timeout=_PATIENCE_S)
        self._count()

    def _bring(self, seen: Seen, status_of: Callable[[Seen, SyncRecord], dict[str, Any]]) -> None:
        """Patch the status if it differs and no other patch of the resource is in progress."""
        record = self._records.get(seen.uid)
        if record is None or seen.uid in self._patches or self._backoff.is_waiting(seen.uid):
            return
        try:
            status = status_of(seen, record)
            patch = merge_patch(seen.status, status)
        except Exception as error:  # noqa: BLE001 any error belongs to this resource
            self._failed(seen, error)
            return
        if patch:
            task = asyncio.create_task(self._patch(seen, status, patch))
            self._patches[seen.uid] = task
            task.add_done_callback(lambda _: self._patches.pop(seen.uid))

    def _own(self, seen: Seen, job: JobSummary | None) -> JobSummary | None:
        """`job` if this resource owns its row, otherwise None."""
        return job if job is not None and is_same_owner(job.managed_by, self._owner(seen)) else None

    def _schedule_status(
        self, seen: Seen, record: SyncRecord, *, job: JobSummary | None, now: datetime
    ) -> dict[str, Any]:
        own = self._own(seen, job)
        status: dict[str, Any] = {
            "observedGeneration": record.generation,
            "schedule": record.schedule,
            "conditions": _conditions(seen, record, ready(record.synced, own), [given_up(own)], now),
            "row": _row(job),
        }
        if own is not None:
            status |= {
                "nextRunTime": _instant(own.next_run_at) if own.status == "Scheduled" else None,
                "lastScheduledTime": _instant(own.last_scheduled_time),
                "lastSuccessTime": _instant(own.last_success_at),
                "dataWatermark": _instant(own.last_data_time),
                "lastRun": _last_run(own),
            }
        return _present(status)

    def _config_status(
        self,
        seen: Seen,
        record: SyncRecord,
        *,
        row: ConfigSummary | None,
        revisions: Sequence[RevisionSummary],
        now: datetime,
    ) -> dict[str, Any]:
        own = row if row is not None and is_same_owner(row.managed_by, self._owner(seen)) else None
        current = [item for item in revisions if own is not None and item.row_version == own.version]
        valid, effective = revision_conditions(record.synced, own, revisions, now)
        is_ready = config_ready(record.synced, valid, effective)
        return _present(
            {
                "observedGeneration": record.generation,
                "conditions": _conditions(seen, record, is_ready, [valid, effective], now),
                "row": _row(row),
                "revision": current[-1].revision if current else None,
                "effectiveRevision": effective_revision(revisions, now) if own is not None else None,
            }
        )

    def _without_database(self, seen: Seen, record: SyncRecord, *, now: datetime) -> dict[str, Any]:
        """The previous status, with conditions that state that it may be outdated."""
        previous = seen.status.get("conditions")
        if record.synced.reason == "DatabaseUnavailable":
            conditions = _conditions(seen, record, ready(record.synced, None), [], now)
        else:
            conditions = merge_conditions(previous, [record.synced], record.generation, now)
        return {**seen.status, "observedGeneration": record.generation, "conditions": conditions}

    def _look_for_drift(
        self, seen: Seen, row: JobSummary | ConfigSummary | None, *, ignored: tuple[object, ...]
    ) -> None:
        """Mark the resource when its row was edited; changes of the runtime's own columns do not count."""
        digest: tuple[object, ...] = (row.version, row.managed_by, row.updated_at, ignored) if row else ()
        before = self._digests.get(seen.uid)
        self._digests[seen.uid] = digest
        if before is None or before == digest:
            return
        by_runtime = bool(before) and bool(digest) and before[:2] == digest[:2] and before[3] != digest[3]
        if not by_runtime:
            self._inventory.mark(seen.uid)

    async def _patch(self, seen: Seen, status: Mapping[str, Any], patch: Mapping[str, Any]) -> None:
        try:
            self._inventory.observe(await self._cluster.patch_status(seen, patch))
        except Exception as error:  # noqa: BLE001 any error belongs to this resource
            if not (isinstance(error, ClusterError) and error.status in (404, 409)):
                self._failed(seen, error)
            return
        self._backoff.succeeded(seen.uid)
        for notice in news_of(seen.status, status):
            self._events.post(seen, notice)

    def _unread(self, job_id: str, error: Exception) -> None:
        if not self._backoff.is_waiting(f"row {job_id}"):
            self._backoff.failed(f"row {job_id}")
            log.warning("row_not_read", job_id=job_id, error=error_text(error))

    def _failed(self, seen: Seen, error: Exception) -> None:
        pause = self._backoff.failed(seen.uid)
        log.warning(
            "status_not_written",
            kind=seen.kind,
            namespace=seen.namespace,
            name=seen.name,
            error=error_text(error),
            again_in_s=pause,
        )

    def _count(self) -> None:
        for kind, types in _CONDITIONS.items():
            resources = self._inventory.all(kind)
            self._metrics.resources.labels(kind=kind, condition="All").set(len(resources))
            for name in types:
                true = sum(_is_true(seen, name) for seen in resources)
                self._metrics.resources.labels(kind=kind, condition=name).set(true)
        for uid in [uid for uid in self._digests if uid not in self._inventory]:
            del self._digests[uid]
            self._backoff.succeeded(uid)


def _conditions(
    seen: Seen, record: SyncRecord, is_ready: Condition, further: Sequence[Condition], now: datetime
) -> list[dict[str, Any]]:
    previous = seen.status.get("conditions")
    stalled, reconciling = outlook(record.synced, is_ready, previous=previous, now=now)
    drifted = [record.drifted] if record.drifted else []
    found = [record.synced, is_ready, stalled, reconciling, *further, *drifted]
    return merge_conditions(previous, found, record.generation, now)


def _row(row: JobSummary | ConfigSummary | None) -> dict[str, Any] | None:
    return None if row is None else _present({"version": row.version, "managedBy": row.managed_by})


def _last_run(job: JobSummary) -> dict[str, Any] | None:
    if job.last_run_id is None and job.last_state is None:
        return None
    return _present(
        {
            "runId": job.last_run_id,
            "state": job.last_state,
            "scheduledTime": _instant(job.last_scheduled_time),
            "startTime": _instant(job.last_started_at),
            "duration": None if job.last_duration_s is None else duration_text(job.last_duration_s),
            "message": None if job.last_error is None else excerpt(job.last_error, limit=MESSAGE_LIMIT),
        }
    )


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else instant_text(moment)


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _is_true(seen: Seen, condition: str) -> bool:
    conditions = seen.status.get("conditions") or []
    return any(item.get("type") == condition and item.get("status") == "True" for item in conditions)

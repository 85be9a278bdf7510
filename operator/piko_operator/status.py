"""Rows and runs back into the status of resources.

The only writer of status: conditions are a list, and a list that two write is a list that one loses. What
the status should be is computed from the mirror's record and the runtime's summary; only what differs from
the status that the object has is patched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from piko.clock import Clock
from piko.errors import DatabaseUnavailableError
from piko.observability.logs import get_logger
from piko.store.managed import ConfigSummary, JobSummary, RevisionSummary, Summaries
from piko.text import excerpt
from piko_operator.cluster import Cluster, ClusterError
from piko_operator.conditions import (
    MESSAGE_LIMIT,
    effective_revision,
    given_up,
    merge_conditions,
    merge_patch,
    news_of,
    ready,
    revision_conditions,
)
from piko_operator.inventory import JOB_CONFIG, SCHEDULE, Inventory, Seen
from piko_operator.metrics import OperatorMetrics
from piko_operator.mirror import Mirror, Record
from piko_operator.shapes import duration_text, instant_text

_CONDITIONS = {
    SCHEDULE: ("Synced", "Ready", "Drifted", "DataGivenUp"),
    JOB_CONFIG: ("Synced", "Valid", "Effective", "Drifted"),
}

log = get_logger(__name__)


class StatusWriter:
    """Brings status up to date on a timer, and sooner when the mirror has news."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        inventory: Inventory,
        metrics: OperatorMetrics,
        mirror: Mirror,
        summaries: Summaries,
        interval_s: float,
        news: asyncio.Event,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._inventory = inventory
        self._metrics = metrics
        self._mirror = mirror
        self._summaries = summaries
        self._interval_s = interval_s
        self._news = news
        self._digests: dict[str, tuple[object, ...]] = {}
        self.database_error: str | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._news.clear()
            await self.update()
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def update(self) -> None:
        """One round over all resources."""
        now = self._clock.now()
        schedules, configs = self._inventory.all(SCHEDULE), self._inventory.all(JOB_CONFIG)
        wanted: list[tuple[Seen, dict[str, Any]]] = []
        try:
            jobs = await self._summaries.jobs([seen.job_id for seen in schedules])
            rows = await self._summaries.configs([seen.job_id for seen in configs])
            revisions = await self._summaries.revisions([seen.job_id for seen in configs])
        except DatabaseUnavailableError as error:
            self.database_error = str(error)
            wanted = [
                (seen, self._without_database(seen, record, now))
                for seen in (*schedules, *configs)
                if (record := self._mirror.record(seen.uid)) is not None
            ]
        else:
            self.database_error = None
            for seen in schedules:
                job = jobs.get(seen.job_id)
                self._look_for_drift(seen, job, ignored=(job.last_data_time, job.completed_at) if job else ())
                if (record := self._mirror.record(seen.uid)) is not None:
                    wanted.append((seen, self._schedule_status(seen, record, job, now)))
            for seen in configs:
                row = rows.get(seen.job_id)
                self._look_for_drift(seen, row, ignored=())
                if (record := self._mirror.record(seen.uid)) is not None:
                    held = revisions.get(seen.job_id, [])
                    wanted.append((seen, self._config_status(seen, record, row, held, now)))
        await asyncio.gather(*(self._patch(seen, status) for seen, status in wanted))
        self._count()

    def _own(self, seen: Seen, job: JobSummary | None) -> JobSummary | None:
        """`job`, where its row is that of this resource."""
        return job if job is not None and job.managed_by == self._mirror.owner(seen) else None

    def _schedule_status(
        self, seen: Seen, record: Record, job: JobSummary | None, now: datetime
    ) -> dict[str, Any]:
        own = self._own(seen, job)
        found = [record.synced, ready(record.synced, own), given_up(own)]
        found += [record.drifted] if record.drifted else []
        status: dict[str, Any] = {
            "observedGeneration": record.generation,
            "schedule": record.schedule,
            "conditions": merge_conditions(seen.status.get("conditions"), found, record.generation, now),
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
        record: Record,
        row: ConfigSummary | None,
        revisions: Sequence[RevisionSummary],
        now: datetime,
    ) -> dict[str, Any]:
        owner = self._mirror.owner(seen)
        own = row if row is not None and row.managed_by == owner else None
        current = [item for item in revisions if own is not None and item.row_version == own.version]
        found = [
            record.synced,
            *revision_conditions(record.synced, own, revisions, now),
            *([record.drifted] if record.drifted else []),
        ]
        return _present(
            {
                "observedGeneration": record.generation,
                "conditions": merge_conditions(seen.status.get("conditions"), found, record.generation, now),
                "row": _row(row),
                "revision": current[-1].revision if current else None,
                "effectiveRevision": effective_revision(revisions, now) if own is not None else None,
            }
        )

    def _without_database(self, seen: Seen, record: Record, now: datetime) -> dict[str, Any]:
        """What was known stays; the conditions say that it may be old."""
        found = [record.synced]
        if record.synced.reason == "DatabaseUnavailable" and seen.kind == SCHEDULE:
            found.append(ready(record.synced, None))
        conditions = merge_conditions(seen.status.get("conditions"), found, record.generation, now)
        return {**seen.status, "observedGeneration": record.generation, "conditions": conditions}

    def _look_for_drift(
        self, seen: Seen, row: JobSummary | ConfigSummary | None, *, ignored: tuple[object, ...]
    ) -> None:
        """Have the mirror look at once when someone wrote the row; the runtime's own columns do not count."""
        digest: tuple[object, ...] = (row.version, row.managed_by, row.updated_at, ignored) if row else ()
        before = self._digests.get(seen.uid)
        self._digests[seen.uid] = digest
        if before is None or before == digest:
            return
        by_runtime = bool(before) and bool(digest) and before[:2] == digest[:2] and before[3] != digest[3]
        if not by_runtime:
            self._inventory.mark(seen.uid)

    async def _patch(self, seen: Seen, status: Mapping[str, Any]) -> None:
        patch = merge_patch(seen.status, status)
        if not patch:
            return
        try:
            self._inventory.observe(await self._cluster.patch_status(seen, patch))
            for notice in news_of(seen.status.get("conditions"), status.get("conditions")):
                await self._cluster.announce(seen, notice)
        except ClusterError as error:
            if error.status not in (404, 409):
                log.warning("status_not_written", kind=seen.kind, name=seen.name, error=str(error))

    def _count(self) -> None:
        for kind, types in _CONDITIONS.items():
            resources = self._inventory.all(kind)
            self._metrics.resources.labels(kind=kind, condition="All").set(len(resources))
            for name in types:
                true = sum(_is_true(seen, name) for seen in resources)
                self._metrics.resources.labels(kind=kind, condition=name).set(true)
        for uid in [uid for uid in self._digests if uid not in self._inventory]:
            del self._digests[uid]


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

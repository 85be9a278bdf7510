"""Writes the state of rows and runs into the status of resources.

This is the only writer of status: conditions are a list, and two writers of a list would overwrite each
other. It looks only at resources of which something has changed: the mirror, the feed of changed rows and the
watch name them. The wanted status is computed from the mirror's record and the runtime's summary, and only
the difference from the current status is patched, when `pacing` says so. A patch that fails for one resource
affects no other, and is retried after its own pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.background.waiting import happens
from piko.clock import Clock
from piko.errors import DatabaseUnavailableError
from piko.model.objectives import JobObjective, deadlines
from piko.observability.logs import get_logger
from piko.store.reports.objectives import Objectives
from piko.store.reports.summaries import Summaries
from piko.text import error_text
from piko_operator.apart import apart
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import ClusterError
from piko_operator.conditions import AWAY, merge_patch, true_conditions
from piko_operator.events import Events
from piko_operator.inventory import JOB_CONFIG, SCHEDULE, Inventory, Seen
from piko_operator.news import news_of
from piko_operator.pacing import Pacing, is_urgent
from piko_operator.packing import pack, unpack
from piko_operator.records import SyncRecord, SyncRecords
from piko_operator.reporting import (
    config_status,
    has_last_run,
    schedule_status,
    unknown_status,
)
from piko_operator.resource_backoff import ResourceBackoff
from piko_operator.tally import ConditionTally
from piko_operator.wakes import Wakes

_BACKOFF = Backoff(first_s=1.0, longest_s=60.0)
_ROUND = 500
"""Resources whose rows are read in one round."""
_AT_ONCE = 6
_UNSETTLED = Backoff(first_s=1.0, longest_s=60.0)
"""When a resource that is not ready is looked at again: some conditions change with time alone."""

_LATE_AGAIN_S = 5.0
"""When a resource whose job is late is looked at again: a run that starts late is written to no summary."""

log = get_logger(__name__)

StatusOf = Callable[[Mapping[str, Any], SyncRecord], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A status that waits for its turn, and the one that it was computed from.

    Both are packed, because after an outage there may be thousands.
    """

    before: bytes
    after: bytes


class StatusWriter:
    """Computes the status of resources that something has changed for, and writes it."""

    name = "status"

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        events: Events,
        inventory: Inventory,
        objectives: Objectives,
        owner: Callable[[Seen], str],
        pacing: Pacing,
        records: SyncRecords,
        summaries: Summaries,
        tally: ConditionTally,
        interval_s: float,
        served_by: str,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._events = events
        self._inventory = inventory
        self._objectives = objectives
        self._owner = owner
        self._pacing = pacing
        self._records = records
        self._summaries = summaries
        self._tally = tally
        self._interval_s = interval_s
        self._served_by = served_by
        self._changed: dict[str, None] = {}
        self._wake, self._wanting = asyncio.Event(), asyncio.Event()
        self._wanted: dict[str, _Wanted] = {}
        self._writing: set[str] = set()
        self._written: dict[str, str] = {}
        self._backoff = ResourceBackoff(clock=clock, backoff=_BACKOFF)
        self._unsettled = ResourceBackoff(clock=clock, backoff=_UNSETTLED)
        self._wakes = Wakes(look=self.look, clock=clock)

    def look(self, *uids: str) -> None:
        """Have the status of resources computed again."""
        self._changed |= dict.fromkeys(uids)
        if self._changed:
            self._wake.set()

    async def run(self) -> None:
        """Compute and write until cancelled."""
        away = Transient(errors=(DatabaseUnavailableError,), report=self._without_database)
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._write_each())
            await repeat(self.update, pause_s=self._interval_s, wake=self._wake, transient=[away])

    async def update(self) -> None:
        """Compute the status of resources that have changed. Raises `DatabaseUnavailableError`."""
        self._note_touched()
        uids = list(self._changed)[:_ROUND]
        for uid in uids:
            del self._changed[uid]
        known = [seen for uid in uids if (seen := self._inventory.get(uid)) is not None]
        chosen = [seen for seen in known if not _is_going(seen, self._records.get(seen.uid))]
        if chosen:
            try:
                await self._compute(chosen)
            except DatabaseUnavailableError:
                self._changed |= dict.fromkeys(uids)
                raise
        if self._changed:
            self._wake.set()

    async def _compute(self, chosen: Sequence[Seen]) -> None:
        now = self._clock.now()
        schedules = [seen for seen in chosen if seen.kind == SCHEDULE]
        configs = [seen for seen in chosen if seen.kind == JOB_CONFIG]
        job_ids = [seen.job_id for seen in schedules]
        statuses = {seen.uid: seen.status for seen in chosen}
        jobs = await apart(self._summaries.jobs, job_ids, blame=self._unread)
        objectives = await apart(self._objectives.read, job_ids, blame=self._unread)
        ran = [
            seen.job_id for seen in schedules if not has_last_run(statuses[seen.uid], jobs.get(seen.job_id))
        ]
        recent = await apart(self._summaries.recent_runs, ran, blame=self._unread)
        ids = [seen.job_id for seen in configs]
        rows = await apart(self._summaries.configs, ids, blame=self._unread)
        revisions = await apart(self._summaries.revisions, ids, blame=self._unread)
        for seen in schedules:
            job, objective = jobs.get(seen.job_id), objectives.get(seen.job_id)
            owner, answer = self._owner(seen), self._records.answer(seen.uid)
            status_of = partial(
                schedule_status,
                answer=answer,
                job=job,
                objective=objective,
                recent=recent.get(seen.job_id),
                owner=owner,
                now=now,
            )
            self._want(seen, statuses[seen.uid], status_of)
            self._look_when_due(seen, objective, now)
        for seen in configs:
            row, held = rows.get(seen.job_id), revisions.get(seen.job_id, [])
            owner, answer = self._owner(seen), self._records.answer(seen.uid)
            status_of = partial(config_status, answer=answer, row=row, revisions=held, owner=owner, now=now)
            self._want(seen, statuses[seen.uid], status_of)

    def _without_database(self, _error: Exception) -> None:
        """Say of resources with something to write that nothing is known of their rows."""
        now = self._clock.now()
        for uid in list(self._changed):
            seen, record = self._inventory.get(uid), self._records.get(uid)
            if seen is not None and record is not None and record.synced.status == "Unknown":
                self._want(seen, seen.status, partial(unknown_status, now=now))

    def _note_touched(self) -> None:
        for uid in self._inventory.take_touched():
            seen = self._inventory.get(uid)
            if seen is None:
                self._forget(uid)
                continue
            self._tally.note(uid, seen.kind, seen.true_conditions)
            if self._written.get(uid) != seen.resource_version:
                self._changed[uid] = None

    def _want(self, seen: Seen, before: Mapping[str, Any], status_of: StatusOf) -> None:
        """Have the status written if it differs from `before`, which `seen` has."""
        record = self._records.get(seen.uid)
        if record is None or seen.uid not in self._inventory:
            return
        if record.synced.reason == AWAY:
            # Rows may be read before the mirror has tried again; that is no reason for another patch.
            status_of = partial(unknown_status, now=self._clock.now())
        try:
            status = {**status_of(before, record), "servedBy": self._served_by}
            differs, packed = bool(merge_patch(before, status)), pack(status)
        except Exception as error:  # noqa: BLE001 any error belongs to this resource
            self._failed(seen, error)
            return
        self._look_again_unless_settled(seen, status)
        if not differs:
            self._wanted.pop(seen.uid, None)
            self._pacing.drop(seen.uid)
            return
        self._wanted[seen.uid] = _Wanted(before=seen.packed_status, after=packed)
        if not self._backoff.is_waiting(seen.uid):
            self._offer(seen.uid, urgent=is_urgent(before, status))

    def _offer(self, uid: str, *, urgent: bool) -> None:
        self._pacing.want(uid, urgent=urgent, now=self._clock.monotonic())
        self._wanting.set()

    def _look_again_unless_settled(self, seen: Seen, status: Mapping[str, Any]) -> None:
        if {"Ready"} <= true_conditions(status) and "Effective" not in _false(status):
            self._unsettled.succeeded(seen.uid)
        elif not self._unsettled.is_waiting(seen.uid):
            pause_s = self._unsettled.failed(seen.uid)
            asyncio.get_running_loop().call_later(pause_s, self._look_if_unsettled, seen.uid)

    def _look_if_unsettled(self, uid: str) -> None:
        if self._unsettled.failures(uid):
            self.look(uid)

    def _look_when_due(self, seen: Seen, objective: JobObjective | None, now: datetime) -> None:
        """At its next deadline a job is late without that anything is written anywhere."""
        dues = [] if objective is None else deadlines(objective)
        if any(due.at <= now for due in dues):
            self._wakes.within(seen.uid, _LATE_AGAIN_S)
        else:
            self._wakes.at(seen.uid, dues[0].at if dues else None)

    async def _write_each(self) -> None:
        while True:
            uid, wait_s = self._pacing.next(self._clock.monotonic())
            if uid is None:
                self._wanting.clear()
                await happens(self._wanting.wait(), within_s=wait_s)
                continue
            wanted = self._wanted.pop(uid, None)
            if wanted is None:
                continue
            if uid in self._writing:  # the answer of the previous patch is what this one differs from
                self.look(uid)
                continue
            self._writing.add(uid)
            try:
                await self._write(uid, wanted)
            finally:
                self._writing.discard(uid)

    async def _write(self, uid: str, wanted: _Wanted) -> None:
        seen = self._inventory.get(uid)
        if seen is None:
            return
        if seen.packed_status != wanted.before:  # a patch that was under way when this one was computed
            self.look(seen.uid)
            return
        before, status = seen.status, unpack(wanted.after)
        try:
            patched = await self._cluster.patch_status(seen, merge_patch(before, status))
        except Exception as error:  # noqa: BLE001 any error belongs to this resource
            if not (isinstance(error, ClusterError) and error.status in (404, 409)):
                self._failed(seen, error)
            elif error.status == 409:
                self.look(seen.uid)
            return
        self._backoff.succeeded(seen.uid)
        self._written[seen.uid] = patched.resource_version
        self._inventory.observe(patched)
        self._tally.note(seen.uid, seen.kind, patched.true_conditions)
        for notice in news_of(before, status):
            self._events.post(seen, notice)

    def _unread(self, job_id: str, error: Exception) -> None:
        if not self._backoff.is_waiting(f"row {job_id}"):
            self._backoff.failed(f"row {job_id}")
            log.warning("row_not_read", job_id=job_id, error=error_text(error))

    def _failed(self, seen: Seen, error: Exception) -> None:
        pause_s = self._backoff.failed(seen.uid)
        asyncio.get_running_loop().call_later(pause_s, self.look, seen.uid)
        log.warning(
            "status_not_written",
            kind=seen.kind,
            namespace=seen.namespace,
            name=seen.name,
            error=error_text(error),
            again_in_s=pause_s,
        )

    def _forget(self, uid: str) -> None:
        self._records.forget(uid)
        self._tally.forget(uid)
        self._pacing.forget(uid)
        self._wakes.forget(uid)
        self._backoff.succeeded(uid)
        self._unsettled.succeeded(uid)
        self._wanted.pop(uid, None)
        self._written.pop(uid, None)


def _is_going(seen: Seen, record: SyncRecord | None) -> bool:
    """Whether the resource is being deleted and nothing holds it up: a write would be for nobody."""
    return seen.deleting and record is not None and record.synced.status == "True"


def _false(status: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        str(item.get("type")) for item in status.get("conditions") or [] if item.get("status") == "False"
    )

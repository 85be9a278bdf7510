"""The status of a resource: pure, from the record of the mirror and the summaries of the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from piko.core.types import JobStatus
from piko.model.objectives import JobObjective, deadlines
from piko.model.summaries import ConfigSummary, JobSummary, RecentRun, RevisionSummary
from piko.text import excerpt, instant_text
from piko_operator.annotations import pause_message
from piko_operator.conditions import (
    MESSAGE_LIMIT,
    config_ready,
    effective_revision,
    given_up,
    merge_conditions,
    outlook,
    ready,
    revision_conditions,
)
from piko_operator.freshness import fresh
from piko_operator.ownership import UNKNOWN_DRIFT, Condition, is_same_owner
from piko_operator.records import SyncRecord
from piko_operator.shapes import duration_text
from piko_operator.trigger_annotation import TriggerAnswer, reported, triggered

_ERROR_LIMIT = 256
"""Bytes of the error of one of the recent runs."""


def schedule_status(
    previous: Mapping[str, Any],
    record: SyncRecord,
    *,
    answer: TriggerAnswer | None = None,
    job: JobSummary | None,
    objective: JobObjective | None,
    recent: Sequence[RecentRun] | None = None,
    owner: str,
    now: datetime,
) -> dict[str, Any]:
    """The status of a PikoSchedule.

    - `previous`: its status as it is.
    - `record`: what the mirror came to.
    - `answer`: what was done about its trigger annotation, if this process has done anything.
    - `job`: what the runtime says of the job, if it has a row.
    - `recent`: the runs of the job that ended last; None if those of `previous` are still the last.
    - `objective`: what is promised of the job, if anything is.
    - `owner`: the owner that the resource is for its row.
    - `now`: the time of transitions, and of what is late.
    """
    own = job if job is not None and is_same_owner(job.managed_by, owner) else None
    promised = objective if own is not None else None
    dues = [] if promised is None else deadlines(promised)
    if promised is None:
        previous = without_condition(previous, "Fresh")
    kept = [] if promised is None else [fresh(promised, dues, now=now)]
    trigger = _trigger(previous, answer)
    further = [given_up(own), *kept, *_triggered(trigger)]
    conditions = _conditions(previous, record, _ready(record, own), further, now)
    status: dict[str, Any] = {
        "observedGeneration": record.generation,
        "schedule": record.schedule,
        "conditions": conditions,
        "trigger": trigger,
        "paused": record.paused,
        "lastHandledReconcileAt": record.reconcile_at,
        "row": _row(job, record),
    }
    if own is not None:
        status |= {
            "nextRunTime": _instant(own.next_run_at) if own.status == "Scheduled" else None,
            "lastScheduledTime": _instant(own.last_scheduled_time),
            "lastSuccessTime": _instant(own.last_success_at),
            "lastFailureTime": _instant(own.last_failure_at),
            "consecutiveFailures": own.consecutive_failures or 0,
            "dataWatermark": _instant(own.last_data_time),
            "deadline": _instant(dues[0].at) if dues else None,
            "lastRun": _last_run(own),
            "recentRuns": previous.get("recentRuns") if recent is None else [_ran(run) for run in recent],
        }
    return _present(status)


def has_last_run(status: Mapping[str, Any], job: JobSummary | None) -> bool:
    """Whether `status` has the run of the job that ended last among its recent runs."""
    known = {run.get("runId") for run in status.get("recentRuns") or []}
    return job is None or job.last_run_id is None or job.last_run_id in known


def config_status(
    previous: Mapping[str, Any],
    record: SyncRecord,
    *,
    answer: TriggerAnswer | None = None,
    row: ConfigSummary | None,
    revisions: Sequence[RevisionSummary],
    owner: str,
    now: datetime,
) -> dict[str, Any]:
    """The status of a PikoJobConfig.

    - `previous`: its status as it is.
    - `record`: what the mirror came to.
    - `answer`: what was done about its trigger annotation, if this process has done anything.
    - `row`: the row of the job's config, if there is one.
    - `revisions`: the revisions of the job's config, oldest first.
    - `owner`: the owner that the resource is for its row.
    - `now`: the time of transitions, and what is in force.
    """
    own = row if row is not None and is_same_owner(row.managed_by, owner) else None
    current = [item for item in revisions if own is not None and item.row_version == own.version]
    valid, effective = revision_conditions(record.synced, own, revisions, now)
    is_ready = config_ready(record.synced, valid, effective)
    trigger = _trigger(previous, answer)
    further = [valid, effective, *_triggered(trigger)]
    return _present(
        {
            "observedGeneration": record.generation,
            "conditions": _conditions(previous, record, is_ready, further, now),
            "trigger": trigger,
            "lastHandledReconcileAt": record.reconcile_at,
            "row": _row(row, record),
            "revision": current[-1].revision if current else None,
            "effectiveRevision": effective_revision(revisions, now) if own is not None else None,
        }
    )


def unknown_status(previous: Mapping[str, Any], record: SyncRecord, *, now: datetime) -> dict[str, Any]:
    """The status while nothing can be read: the previous one, with conditions that say so."""
    conditions = _conditions(previous, record, ready(record.synced, None), [], now)
    return {**previous, "observedGeneration": record.generation, "conditions": conditions}


def without_condition(status: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`status` without the condition `name`, which does not apply any more."""
    conditions = status.get("conditions")
    if not isinstance(conditions, list):
        return dict(status)
    return {**status, "conditions": [item for item in conditions if item.get("type") != name]}


def _conditions(
    previous: Mapping[str, Any],
    record: SyncRecord,
    is_ready: Condition,
    further: Sequence[Condition],
    now: datetime,
) -> list[dict[str, Any]]:
    before = previous.get("conditions")
    stalled, reconciling = outlook(record.synced, is_ready, previous=before, now=now)
    drifted = record.drifted
    if drifted is None and previous.get("observedGeneration") != record.generation:
        drifted = UNKNOWN_DRIFT  # another process reads from this that the generation was not written yet
    found = [record.synced, is_ready, stalled, reconciling, *further, *([drifted] if drifted else [])]
    return merge_conditions(before, found, record.generation, now)


def _ready(record: SyncRecord, job: JobSummary | None) -> Condition:
    found = ready(record.synced, job)
    if found.reason == JobStatus.DISABLED and record.paused is not None:
        return replace(found, message=pause_message(record.paused))
    return found


def _row(row: JobSummary | ConfigSummary | None, record: SyncRecord) -> dict[str, Any] | None:
    # Who may not have the job does not learn whose it is.
    hidden = row is None or record.synced.reason == "NotAllowed"
    return None if row is None or hidden else _present({"version": row.version, "managedBy": row.managed_by})


def _trigger(previous: Mapping[str, Any], answer: TriggerAnswer | None) -> dict[str, Any] | None:
    """The last answer to a trigger annotation, which the status keeps: no restart may forget it."""
    known = previous.get("trigger")
    if answer is None:
        return dict(known) if isinstance(known, Mapping) else None
    found = reported(answer)
    return {**found, "refusal": excerpt(answer.refusal, limit=MESSAGE_LIMIT)} if answer.refusal else found


def _triggered(trigger: Mapping[str, Any] | None) -> list[Condition]:
    return [] if trigger is None else [triggered(trigger)]


def _last_run(job: JobSummary) -> dict[str, Any] | None:
    if job.last_run_id is None and job.last_state is None:
        return None
    return _present(
        {
            "runId": job.last_run_id,
            "state": job.last_state,
            "scheduledTime": _instant(job.last_scheduled_time),
            "startTime": _instant(job.last_started_at),
            "duration": None if job.last_duration_s is None else duration_text(round(job.last_duration_s, 3)),
            "message": None if job.last_error is None else excerpt(job.last_error, limit=MESSAGE_LIMIT),
        }
    )


def _ran(run: RecentRun) -> dict[str, Any]:
    first = (run.error or "").splitlines()[:1]  # not the traceback
    return _present(
        {
            "runId": run.run_id,
            "state": run.state,
            "scheduledTime": _instant(run.scheduled_time),
            "startTime": _instant(run.started_at),
            "duration": None if run.duration_s is None else duration_text(run.duration_s),
            "message": excerpt(first[0], limit=_ERROR_LIMIT) if first else None,
        }
    )


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else instant_text(moment)


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}

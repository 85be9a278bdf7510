"""For what hooks are to be called: pure.

A job fails from the first run that has failed with no attempt left, until a run succeeds. It is late from a
deadline on, until it keeps its objectives again. Each is announced when it begins, and again when it ends. So
what has been announced and how a job stands now say together what is to be announced, whatever happened in
between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from piko.core.hooks import HookEvent, HookValue, JobFailure, JobLateness, JobRecovery
from piko.core.types import FAILED_STATES, RunState
from piko.model.announcements import AnnouncedKind, Announcement, ConcernedJob
from piko.model.objectives import broken, deadlines
from piko.text import instant_text

Announced = dict[tuple[str, AnnouncedKind], datetime]
"""By job and kind, since when it has been so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begins:
    """`value` is to be announced, and `row` to be written once it was."""

    value: JobFailure | JobLateness
    row: Announcement


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """`row` does not hold any more; `value` is to be announced before it goes, None: nothing is."""

    value: JobRecovery | None
    row: Announcement


Announcing = Begins | Ends


def event_of(value: HookValue) -> HookEvent:
    """The hooks that are called with `value`."""
    if isinstance(value, JobFailure):
        return HookEvent.FAILURE
    return HookEvent.LATE if isinstance(value, JobLateness) else HookEvent.RECOVERED


def to_announce(
    job_id: str,
    job: ConcernedJob | None,
    announced: Announced,
    *,
    now: datetime,
    timezone: str,
) -> Iterator[Announcing]:
    """What is to be announced of a job; None as `job`: it has no row any more, so nobody waits for its end.

    `timezone`: of schedules that name none.
    """
    for kind in AnnouncedKind:
        since = announced.get((job_id, kind))
        if job is None:
            if since is not None:
                yield Ends(value=None, row=Announcement(job_id=job_id, kind=kind, since=since))
        elif since is None:
            began = _failure(job, now) if kind is AnnouncedKind.FAILURE else _lateness(job, now, timezone)
            if began is not None:
                yield began
        elif _is_over(job, kind, now, timezone):
            row = Announcement(job_id=job_id, kind=kind, since=since)
            yield Ends(value=_recovery(job, row), row=row)


def _failure(job: ConcernedJob, now: datetime) -> Begins | None:
    run = job.last_run
    if run is None or not job.failures or job.is_retried or run.state not in FAILED_STATES:
        return None
    value = JobFailure(
        job_id=job.job_id,
        owner=job.owner,
        run_id=run.run_id,
        state=RunState(run.state),
        attempt=run.attempt,
        scheduled_time=run.scheduled_time,
        started_at=run.started_at,
        finished_at=run.finished_at,
        window=run.window,
        error_type=run.error_type,
        error=run.error,
        consecutive_failures=job.failures,
        key=f"{job.job_id}/failure/{run.run_id}",
    )
    row = Announcement(job_id=job.job_id, kind=AnnouncedKind.FAILURE, since=run.finished_at or now)
    return Begins(value=value, row=row)


def _lateness(job: ConcernedJob, now: datetime, timezone: str) -> Begins | None:
    if job.objective is None:
        return None
    late = next((due for due in deadlines(job.objective, timezone=timezone) if due.at <= now), None)
    if late is None:
        return None
    value = JobLateness(
        job_id=job.job_id,
        owner=job.owner,
        objective=late.kind.value,
        deadline=late.at,
        reason=broken(job.objective, late),
        watermark=job.watermark,
        last_success_at=job.last_success_at,
        key=f"{job.job_id}/late/{late.kind.value}/{instant_text(late.at)}",
    )
    return Begins(value=value, row=Announcement(job_id=job.job_id, kind=AnnouncedKind.LATE, since=late.at))


def _is_over(job: ConcernedJob, kind: AnnouncedKind, now: datetime, timezone: str) -> bool:
    if kind is AnnouncedKind.FAILURE:
        return job.failures == 0
    return _lateness(job, now, timezone) is None


def _recovery(job: ConcernedJob, row: Announcement) -> JobRecovery:
    return JobRecovery(
        job_id=job.job_id,
        owner=job.owner,
        recovered_from=HookEvent(row.kind.value),
        since=row.since,
        watermark=job.watermark,
        last_success_at=job.last_success_at,
        key=f"{job.job_id}/recovered/{row.kind.value}/{instant_text(row.since)}",
    )

"""The same act on everything that a filter leaves: bounded, and each item has an outcome of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from piko.clock import Clock
from piko.errors import RefusedError
from piko.model.changes import Actor
from piko.steering import runs, schedules
from piko.steering.shell import MOST
from piko.store.engine import Database
from piko.store.reports.jobs import JobFilter, JobList, JobOrder
from piko.store.reports.runs import RunFilter, RunList

RunVerb = Literal["cancel", "retry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """What an act on many did to one of them, a job, a run of it or a dead letter.

    `detail` says why it was refused, or what stands in its way.
    """

    job_id: str
    run_id: str | None = None
    letter_id: str | None = None
    result: Literal["changed", "unchanged", "refused"]
    detail: str | None = None


async def set_enabled(
    database: Database,
    wanted: JobFilter,
    *,
    enabled: bool,
    until: datetime | None = None,
    now: datetime,
    actor: Actor,
    dry_run: bool = False,
) -> list[ItemResult]:
    """Pause or resume every job that `wanted` leaves, at most 1,000; one that a resource owns is refused.

    - `until`: when the leader resumes what is paused by itself; None: never.

    Raises `RefusedError`, before anything is changed, if the filter leaves more jobs, or `until` has passed.
    """
    found = await JobList(database=database).page(
        wanted, now=now, order=JobOrder.JOB_ID, after=None, limit=MOST + 1
    )
    few_enough(found, "jobs", "`text`, `state` or `owner`")
    schedules.check_until(until, now)

    async def act(job_id: str) -> bool:
        return await schedules.set_enabled(
            database, job_id, enabled=enabled, until=until, now=now, actor=actor, dry_run=dry_run
        )

    return [await _one(job.job_id, None, act, job.job_id) for job in found]


async def on_runs(
    database: Database,
    wanted: RunFilter,
    verb: RunVerb,
    *,
    clock: Clock,
    actor: Actor,
    dry_run: bool = False,
) -> list[ItemResult]:
    """Cancel or retry every run that `wanted` leaves, at most 1,000; the oldest due time first.

    Raises `RefusedError`, before anything is changed, if the filter leaves more runs.
    """
    found = await RunList(database=database).first(wanted, most=MOST + 1)
    few_enough(found, "runs", "`job`, `state`, `since` or `until`")

    async def act(run_id: str) -> bool:
        do = runs.cancel if verb == "cancel" else runs.retry
        await do(database, run_id, clock=clock, actor=actor, dry_run=dry_run)
        return True

    return [await _one(run.job_id, run.run_id, act, run.run_id) for run in reversed(found)]


def few_enough(found: Sequence[object], what: str, filters: str) -> None:
    """Raise `RefusedError` if there are more of `what` than one act is done to; `filters` leave fewer."""
    if len(found) > MOST:
        raise RefusedError(f"the filters leave more than {MOST:,} {what}; name fewer by {filters}")


async def _one(
    job_id: str, run_id: str | None, act: Callable[[str], Awaitable[bool]], subject: str
) -> ItemResult:
    try:
        changed = await act(subject)
    except RefusedError as error:
        return ItemResult(job_id=job_id, run_id=run_id, result="refused", detail=str(error))
    return ItemResult(job_id=job_id, run_id=run_id, result="changed" if changed else "unchanged")

"""Asking for a backfill, pausing, resuming and cancelling it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Literal

from piko.clock import Clock
from piko.core.types import BackfillState
from piko.decisions.backfill_range import PlannedRange, plan_range
from piko.errors import NotFoundError, RefusedError
from piko.identity import Ids
from piko.model.backfills import Backfill
from piko.model.changes import Actor
from piko.schedule import parse_schedule
from piko.steering.owners import owned_by_resource
from piko.steering.schedules import stateful_job
from piko.store.backfills import BackfillStore
from piko.store.engine import Database

BackfillVerb = Literal["pause", "resume", "cancel"]

STATES: Mapping[BackfillVerb, BackfillState] = {
    "pause": BackfillState.PAUSED,
    "resume": BackfillState.ACTIVE,
    "cancel": BackfillState.CANCELLED,
}
"""What each act asks for."""

_FROM = {
    BackfillState.PAUSED: (BackfillState.ACTIVE,),
    BackfillState.ACTIVE: (BackfillState.PAUSED,),
    BackfillState.CANCELLED: (BackfillState.ACTIVE, BackfillState.PAUSED),
}
"""By the state that a person asks for: those that it can follow."""


async def start(
    database: Database,
    job_id: str,
    *,
    begin: datetime,
    end: datetime,
    parallel: int,
    zone: str,
    clock: Clock,
    actor: Actor,
    dry_run: bool = False,
) -> tuple[PlannedRange, Backfill | None]:
    """Ask for every whole window from `begin` to `end`; None instead of a backfill: `dry_run`.

    - `parallel`: how many windows run at once.
    - `zone`: the zone of schedules that name none.

    Raises `NotFoundError`, and `RefusedError` if the job is not stateful or the range has no whole window.
    """
    request, planned = await _planned(
        database,
        job_id,
        backfill_id=Ids(clock).new(),
        begin=begin,
        end=end,
        parallel=parallel,
        zone=zone,
        clock=clock,
        actor=actor,
    )
    if dry_run:
        return planned, None
    await BackfillStore(database=database).create(request, actor=actor)
    return planned, request


async def start_once(
    database: Database,
    job_id: str,
    *,
    backfill_id: str,
    owner: str,
    begin: datetime,
    end: datetime,
    parallel: int,
    paused: bool,
    zone: str,
    clock: Clock,
    actor: Actor,
) -> Backfill:
    """As `start`, unless the backfill of that id was asked for before: by another process, or one that died.

    - `backfill_id`: made from what asks for it, so that it is the same each time.
    - `owner`: the resource that asks for it, as `managed_by` names one.
    - `paused`: start no window until it is resumed.

    Returns the backfill as it is. Raises what `start` raises.
    """
    store = BackfillStore(database=database)
    known = (await store.of_ids([backfill_id])).get(backfill_id)
    if known is not None:
        return known
    request, _ = await _planned(
        database,
        job_id,
        backfill_id=backfill_id,
        begin=begin,
        end=end,
        parallel=parallel,
        zone=zone,
        clock=clock,
        actor=actor,
    )
    state = BackfillState.PAUSED if paused else BackfillState.ACTIVE
    await store.create(replace(request, managed_by=owner, state=state), actor=actor)
    return (await store.of_ids([backfill_id]))[backfill_id]


async def _planned(
    database: Database,
    job_id: str,
    *,
    backfill_id: str,
    begin: datetime,
    end: datetime,
    parallel: int,
    zone: str,
    clock: Clock,
    actor: Actor,
) -> tuple[Backfill, PlannedRange]:
    job = await stateful_job(database, job_id)
    schedule = parse_schedule(
        job_id=job_id,
        schedule_type=job.schedule_type,
        schedule_expr=job.schedule_expr,
        timezone=job.timezone or zone,
    )
    planned = plan_range(schedule, start=begin, end=end, now=clock.now())
    request = Backfill(
        backfill_id=backfill_id,
        job_id=job_id,
        range_start=planned.start,
        range_end=planned.end,
        schedule_type=job.schedule_type,
        schedule_expr=job.schedule_expr,
        timezone=job.timezone or zone,
        parallelism=parallel,
        next_start=planned.start,
        windows_total=planned.count,
        requested_by=actor.who,
        traceparent=actor.traceparent,
    )
    return request, planned


async def change_state(
    database: Database,
    beginning: str,
    *,
    to: BackfillState,
    clock: Clock,
    actor: Actor,
    dry_run: bool = False,
) -> Backfill:
    """Pause, resume or cancel the backfill whose id begins so.

    Raises `NotFoundError`, and `RefusedError` if it is in no state that `to` can follow, or a resource asks
    for it and would undo the change.
    """
    store, of = BackfillStore(database=database), _FROM[to]
    found = await find(database, beginning)
    if found.managed_by is not None and found.state in of and to is not BackfillState.CANCELLED:
        what = f"backfill {found.backfill_id}"
        patch = {"spec": {"suspend": to is BackfillState.PAUSED}}
        raise owned_by_resource(what, found.managed_by, kind="PikoBackfill", patch=patch)
    possible = found.state in of
    if possible and not dry_run:
        possible = await store.change_state(found, to=to, of=of, now=clock.now(), actor=actor)
    if not possible:
        states = " or ".join(state.value for state in of)
        raise RefusedError(
            f"backfill {found.backfill_id} is {found.state.value}; only a backfill that is {states} can "
            f"become {to.value}"
        )
    return await find(database, found.backfill_id)


async def find(database: Database, beginning: str) -> Backfill:
    """The backfill whose id begins so. Raises `NotFoundError`, and `RefusedError` if there are several."""
    found = await BackfillStore(database=database).matching(beginning)
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(item.backfill_id for item in found)
        raise RefusedError(f"backfill {beginning!r} is ambiguous: {ids}; give more of the id")
    raise NotFoundError(f"no backfill {beginning!r}; `piko backfill status` lists them")

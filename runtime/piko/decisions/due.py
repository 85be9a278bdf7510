"""What is due, what is too late, and what is left out: pure decisions.

Every instant of a schedule is accounted for once: it runs, or it is part of a `Span` that is recorded. A
decision covers the instants after a cursor, and the cursor moves to the last one that it covers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile

from piko.catalog.jobs import Job
from piko.schedule import Schedule, count_instants, start_offset

SHORTEST_GRACE_S = 1.0
"""An instant that is less late than this is never missed: a claim takes its time, too."""

AT_ONCE = 1_000
"""Instants of one job that are decided together where each of them runs; the rest follows at once."""

COALESCED = "coalesced into a later instant"
_INSTANT = timedelta(microseconds=1)
_LONGEST = timedelta(days=36_500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Consecutive instants that do not run."""

    first: datetime
    through: datetime
    count: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What to do about the instants of a stateless job up to `through`; None: about none."""

    run: tuple[datetime, ...]
    missed: Span | None = None
    coalesced: Span | None = None
    through: datetime | None = None


def decide(job: Job, *, cursor: datetime, now: datetime) -> Due:
    """The instants after `cursor` whose time to start has come by `now`: which run, which do not.

    Jitter moves the time to start, so an instant is neither due nor late before its own; and it is missed
    when it is later than `misfire_grace_s` after the latest moment to which jitter could have moved it.
    """
    row, schedule = job.row, job.schedule
    too_late = max(cursor, now - grace_of(job) - _INSTANT)
    alone = _alone(job, cursor, now)
    if alone is not None and alone > too_late:
        return Due(run=(alone,), through=alone)
    missed = span_of(
        schedule,
        f"older than misfire_grace_s = {row.misfire_grace_s:g}",
        after=cursor,
        through=schedule.latest_at(too_late),
    )
    if row.coalesce:
        latest = _latest_tostart_of(job, too_late, now)
        before = None if latest is None else schedule.latest_at(latest - _INSTANT)
        left_out = span_of(schedule, COALESCED, after=too_late, through=before)
        newest = () if latest is None else (latest,)
        return Due(run=newest, missed=missed, coalesced=left_out, through=latest or _through(missed))
    run = tuple(
        takewhile(
            lambda instant: start_of(job, instant) <= now, islice(schedule.between(too_late, now), AT_ONCE)
        )
    )
    return Due(run=run, missed=missed, through=run[-1] if run else _through(missed))


def overtaken(
    schedule: Schedule, *, cursor: datetime, first: datetime, now: datetime
) -> tuple[Span, datetime]:
    """Of several instants that are due from `first` on, the latest, and before it the span of the others.

    As `decide` has it, where there is no jitter, none is too late, and the job coalesces.
    """
    latest = schedule.latest_at(now)
    before = None if latest is None else schedule.latest_at(latest - _INSTANT)
    assert latest is not None
    assert before is not None
    count = count_instants(schedule, after=cursor, through=before)
    return Span(first=first, through=before, count=count, reason=COALESCED), latest


def grace_of(job: Job) -> timedelta:
    """How much later than its due time a run may start. Jitter counts as no delay."""
    return as_duration(max(job.row.misfire_grace_s, SHORTEST_GRACE_S) + job.row.jitter_s)


def _alone(job: Job, cursor: datetime, now: datetime) -> datetime | None:
    """The one instant that is due, where it is just one, as it nearly always is."""
    instant = job.schedule.next_after(cursor)
    if instant is None or start_of(job, instant) > now:
        return None
    following = job.schedule.next_after(instant)
    return instant if following is None or following > now else None


def _latest_tostart_of(job: Job, after: datetime, now: datetime) -> datetime | None:
    """The last instant after `after` whose time to start has come."""
    instant = job.schedule.latest_at(now)
    while instant is not None and instant > after:
        if start_of(job, instant) <= now:
            return instant
        instant = job.schedule.latest_at(instant - _INSTANT)
    return None


def start_of(job: Job, instant: datetime) -> datetime:
    """When the run of `instant` is to start: with the job's jitter."""
    return instant + start_offset(job_id=job.job_id, scheduled_time=instant, jitter_s=job.row.jitter_s)


def as_duration(seconds: float) -> timedelta:
    """As a duration; one so long that it leaves the calendar is as good as a century."""
    return min(timedelta(seconds=min(seconds, _LONGEST.total_seconds())), _LONGEST)


def span_of(schedule: Schedule, reason: str, *, after: datetime, through: datetime | None) -> Span | None:
    """The instants of `schedule` in `(after, through]`, where there are any."""
    first = schedule.next_after(after)
    if first is None or through is None or first > through:
        return None
    count = count_instants(schedule, after=after, through=through)
    return Span(first=first, through=through, count=count, reason=reason)


def _through(span: Span | None) -> datetime | None:
    return None if span is None else span.through

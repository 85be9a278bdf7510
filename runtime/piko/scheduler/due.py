"""What is due, what is too late, and what is left out: pure decisions.

Every instant of a schedule is accounted for once: it runs, or it is part of a `Span` that is recorded. A
decision covers the instants after a cursor, and the cursor moves to the last one that it covers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

from piko.core.types import BackfillPolicy, DataInterval
from piko.schedule import Schedule, latest_window, start_offset
from piko.schedule.triggers import Interval
from piko.scheduler.plan import PlannedJob

SHORTEST_GRACE_S = 1.0
"""An instant that is less late than this is never missed: a claim takes its time, too."""

COUNTED = 100_000
"""Cron instants that are counted one by one, in about half a second; more are estimated from these."""

AT_ONCE = 1_000
"""Instants of one job that are decided together where each of them runs; the rest follows at once."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DueWindow:
    """What to do about the windows of a stateful job. `watermark` is where they begin after the jump."""

    window: DataInterval | None
    catching_up: bool = False
    missed: Span | None = None
    skipped: Span | None = None
    watermark: datetime | None = None


def decide(job: PlannedJob, *, cursor: datetime, now: datetime) -> Due:
    """The instants after `cursor` whose time to start has come by `now`: which run, which do not.

    Jitter moves the time to start, so an instant is neither due nor late before its own; and it is missed
    when it is later than `misfire_grace_s` after the latest moment to which jitter could have moved it.
    """
    row, schedule = job.row, job.schedule
    grace = _seconds(max(row.misfire_grace_s, SHORTEST_GRACE_S) + row.jitter_s)
    too_late = max(cursor, now - grace - _INSTANT)
    alone = _alone(job, cursor, now)
    if alone is not None and alone > too_late:
        return Due(run=(alone,), through=alone)
    missed = _span(
        schedule,
        cursor,
        schedule.latest_at(too_late),
        f"older than misfire_grace_s = {row.misfire_grace_s:g}",
    )
    if row.coalesce:
        latest = _latest_to_start(job, too_late, now)
        before = None if latest is None else schedule.latest_at(latest - _INSTANT)
        left_out = _span(schedule, too_late, before, "coalesced into a later instant")
        newest = () if latest is None else (latest,)
        return Due(run=newest, missed=missed, coalesced=left_out, through=latest or _through(missed))
    run = tuple(
        takewhile(
            lambda instant: _start(job, instant) <= now, islice(schedule.between(too_late, now), AT_ONCE)
        )
    )
    return Due(run=run, missed=missed, through=run[-1] if run else _through(missed))


def _alone(job: PlannedJob, cursor: datetime, now: datetime) -> datetime | None:
    """The one instant that is due, where it is just one, as it nearly always is."""
    instant = job.schedule.next_after(cursor)
    if instant is None or _start(job, instant) > now:
        return None
    following = job.schedule.next_after(instant)
    return instant if following is None or following > now else None


def _latest_to_start(job: PlannedJob, after: datetime, now: datetime) -> datetime | None:
    """The last instant after `after` whose time to start has come."""
    instant = job.schedule.latest_at(now)
    while instant is not None and instant > after:
        if _start(job, instant) <= now:
            return instant
        instant = job.schedule.latest_at(instant - _INSTANT)
    return None


def _start(job: PlannedJob, instant: datetime) -> datetime:
    return instant + start_offset(job_id=job.job_id, scheduled_time=instant, jitter_s=job.row.jitter_s)


def decide_window(job: PlannedJob, *, watermark: datetime | None, now: datetime) -> DueWindow:
    """The next window of a stateful job, and what a bound or the policy leaves out before it.

    `CATCH_UP` bounds the backlog, not the number of runs: whenever a window is chosen, those that end more
    than `max_lookback_s` ago and those beyond the newest `backfill_max_windows` are given up for good, and
    the oldest of the rest is chosen. A backlog within the bounds is thus run completely, and a job that is
    slower than its schedule lags by at most so many windows. The newest window is never given up: it is what
    the schedule asks for now.
    """
    if watermark is None:
        first = latest_window(job.schedule, now=now)
        return DueWindow(window=first, watermark=None if first is None else first.start)
    watermark = watermark.astimezone(UTC)
    skip = job.backfill_policy is BackfillPolicy.SKIP
    ends = _backlog(job, watermark, now, bound=1 if skip else job.row.backfill_max_windows)
    if not ends:
        return DueWindow(window=None)
    before = job.schedule.latest_at(ends[0] - _INSTANT)
    start = watermark if before is None or before <= watermark else before
    passed = None
    if start != watermark:
        reason = "BackfillPolicy.SKIP runs the latest window only" if skip else _bounds(job)
        passed = _span(job.schedule, watermark, start, reason)
    return DueWindow(
        window=DataInterval(start=start, end=ends[0]),
        catching_up=len(ends) > 1,
        missed=None if skip else passed,
        skipped=passed if skip else None,
        watermark=start,
    )


def _backlog(job: PlannedJob, watermark: datetime, now: datetime, *, bound: int) -> deque[datetime]:
    """Where the windows end that are still to be run, oldest first; found from the newest backwards."""
    lookback = job.row.max_lookback_s
    horizon = None if lookback is None else now - _seconds(lookback)
    ends: deque[datetime] = deque()
    end = job.schedule.latest_at(now)
    while end is not None and end > watermark and len(ends) < bound:
        if ends and horizon is not None and end <= horizon:
            break
        ends.appendleft(end)
        end = job.schedule.latest_at(end - _INSTANT)
    return ends


def _bounds(job: PlannedJob) -> str:
    lookback = job.row.max_lookback_s
    bounds = f"backfill_max_windows = {job.row.backfill_max_windows}"
    return f"beyond {bounds}" + ("" if lookback is None else f" or max_lookback_s = {lookback:g}")


def _seconds(seconds: float) -> timedelta:
    """As a duration; one so long that it leaves the calendar is as good as a century."""
    return min(timedelta(seconds=min(seconds, _LONGEST.total_seconds())), _LONGEST)


def _span(schedule: Schedule, after: datetime, through: datetime | None, reason: str) -> Span | None:
    """The instants of `schedule` in `(after, through]`."""
    first = schedule.next_after(after)
    if first is None or through is None or first > through:
        return None
    if isinstance(schedule.trigger, Interval):
        period = timedelta(microseconds=schedule.trigger.period)
        return Span(first=first, through=through, count=(through - first) // period + 1, reason=reason)
    count, last = 0, first
    for last in islice(schedule.between(after, through), COUNTED):  # noqa: B007 - the last one is what is asked
        count += 1
    if last < through:
        count = round(count * ((through - after) / (last - after)))
        reason = f"{reason} (so many that they are counted roughly)"
    return Span(first=first, through=through, count=count, reason=reason)


def _through(span: Span | None) -> datetime | None:
    return None if span is None else span.through

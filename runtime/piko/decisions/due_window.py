"""Which window of a stateful job is due, and what is left out before it: pure decisions.

Windows are taken one by one, the oldest first, whatever the size of the backlog: a watermark of 1970 costs as
much as one of a minute ago. Nothing is left out unless somebody asked for it, by `SKIP` or by a bound; and
what is left out is counted, and recorded by what it was left out for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from piko.catalog.jobs import Job
from piko.core.types import BackfillPolicy, DataInterval
from piko.decisions.due import Span, as_duration, span_of
from piko.schedule import Schedule, count_instants, latest_but, latest_window

_INSTANT = timedelta(microseconds=1)


class Bound(StrEnum):
    """What limits a backlog; the metrics' word for what it drops."""

    LOOKBACK = "lookback"
    MAX_WINDOWS = "max_windows"


@dataclass(frozen=True, slots=True, kw_only=True)
class DueWindow:
    """What to do about the windows of a stateful job. `watermark` is where they begin after the jump."""

    window: DataInterval | None
    catching_up: bool = False
    given_up: tuple[tuple[Bound, Span], ...] = ()
    """What each bound drops, oldest first."""
    skipped: Span | None = None
    """What the policy `SKIP` jumps over."""
    watermark: datetime | None = None


def decide_window(job: Job, *, watermark: datetime | None, now: datetime) -> DueWindow:
    """The next window of a stateful job, and what a bound or the policy leaves out before it.

    `CATCH_UP` runs every window that is missing, unless a bound is set. A bound limits the backlog, not the
    number of runs: whenever a window is chosen, those that end more than `max_lookback_s` ago and those
    beyond the newest `backfill_max_windows` are given up, and the oldest of the rest is chosen. A backlog
    within the bounds is thus run completely, and a job that is slower than its schedule lags by at most so
    many windows. The newest window is never given up: it is what the schedule asks for now.
    """
    schedule = job.schedule
    if watermark is None:
        first = latest_window(schedule, now=now)
        return DueWindow(window=first, watermark=None if first is None else first.start)
    watermark = watermark.astimezone(UTC)
    oldest, newest = schedule.next_after(watermark), schedule.latest_at(now)
    if oldest is None or newest is None or oldest > newest:
        return DueWindow(window=None)
    given_up: tuple[tuple[Bound, Span], ...] = ()
    skipped, end = None, oldest
    if job.backfill_policy is BackfillPolicy.SKIP:
        end = newest
        skipped = _before(schedule, end, watermark, "BackfillPolicy.SKIP runs the latest window only")
    else:
        given_up, end = _within_bounds(job, watermark, oldest, newest, now)
    start = watermark if end == oldest else schedule.latest_at(end - _INSTANT)
    assert start is not None, "an instant lies between the watermark and the window"
    return DueWindow(
        window=DataInterval(start=start, end=end),
        catching_up=end < newest,
        given_up=given_up,
        skipped=skipped,
        watermark=start,
    )


def _within_bounds(
    job: Job, watermark: datetime, oldest: datetime, newest: datetime, now: datetime
) -> tuple[tuple[tuple[Bound, Span], ...], datetime]:
    """What the bounds drop, and the end of the oldest window that is left."""
    schedule, row = job.schedule, job.row
    given_up: list[tuple[Bound, Span]] = []
    end, at = oldest, watermark
    for bound, first, column in (
        (Bound.LOOKBACK, _first_in_reach(job, newest, now), "max_lookback_s"),
        (Bound.MAX_WINDOWS, _first_in_number(job, watermark, now), "backfill_max_windows"),
    ):
        if first is None or first <= end:
            continue
        span = _before(schedule, first, at, f"beyond {column} = {getattr(row, column):g}")
        assert span is not None, "the oldest end lies before `first`"
        given_up.append((bound, span))
        end, at = first, span.through
    return tuple(given_up), end


def _first_in_reach(job: Job, newest: datetime, now: datetime) -> datetime | None:
    """The first end of a window that `max_lookback_s` leaves."""
    if job.row.max_lookback_s is None:
        return None
    first = job.schedule.next_after(now - as_duration(job.row.max_lookback_s))
    return newest if first is None else min(first, newest)


def _first_in_number(job: Job, watermark: datetime, now: datetime) -> datetime | None:
    """The first end of a window that `backfill_max_windows` leaves."""
    most = job.row.backfill_max_windows
    if most is None or count_instants(job.schedule, after=watermark, through=now) <= most:
        return None
    return latest_but(job.schedule, most - 1, at=now)


def _before(schedule: Schedule, end: datetime, after: datetime, reason: str) -> Span | None:
    return span_of(schedule, reason, after=after, through=schedule.latest_at(end - _INSTANT))

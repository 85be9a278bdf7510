"""What is due, what is too late, and what is left out: pure decisions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from piko.core.types import BackfillPolicy, DataInterval
from piko.schedule import latest_window, missing_windows
from piko.scheduler.plan import PlannedJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Consecutive instants that do not run."""

    first: datetime
    through: datetime
    count: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What to do about the instants of a stateless job up to now."""

    run: tuple[datetime, ...]
    missed: Span | None = None
    coalesced: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DueWindow:
    """What to do about the windows of a stateful job. `watermark` is where they begin after the jump."""

    window: DataInterval | None
    catching_up: bool = False
    missed: Span | None = None
    skipped: Span | None = None
    watermark: datetime | None = None


def decide(job: PlannedJob, *, cursor: datetime, now: datetime) -> Due:
    """The instants after `cursor` and not after `now`: which run, which are recorded as passed over."""
    oldest = now - timedelta(seconds=min(job.row.misfire_grace_s, 1e9))
    missed = _Counter()
    recent: list[datetime] = []
    for instant in job.schedule.between(cursor, now):
        if instant < oldest:
            missed.add(instant)
        else:
            recent.append(instant)
    left_out = _Counter()
    if job.row.coalesce and recent:
        for instant in recent[:-1]:
            left_out.add(instant)
        recent = recent[-1:]
    grace = f"older than misfire_grace_s = {job.row.misfire_grace_s:g}"
    return Due(
        run=tuple(recent),
        missed=missed.span(grace),
        coalesced=left_out.span("coalesced into a later instant"),
    )


def decide_window(job: PlannedJob, *, watermark: datetime | None, now: datetime) -> DueWindow:
    """The next window of a stateful job, and what a bound or the policy leaves out before it."""
    if watermark is None:
        first = latest_window(job.schedule, now=now)
        return DueWindow(window=first, watermark=None if first is None else first.start)
    windows = list(missing_windows(job.schedule, watermark=watermark, now=now))
    if not windows:
        return DueWindow(window=None)
    if job.backfill_policy is BackfillPolicy.SKIP:
        skipped = _windows(windows[:-1])
        return DueWindow(
            window=windows[-1],
            skipped=skipped.span("BackfillPolicy.SKIP runs the latest window only"),
            watermark=windows[-1].start,
        )
    kept = windows
    if job.row.max_lookback_s is not None:
        horizon = now - timedelta(seconds=min(job.row.max_lookback_s, 1e9))
        kept = [window for window in windows if window.end > horizon] or windows[-1:]
    kept = kept[-job.row.backfill_max_windows :]
    dropped = _windows(windows[: len(windows) - len(kept)])
    return DueWindow(
        window=kept[0],
        catching_up=len(kept) > 1,
        missed=dropped.span("beyond max_lookback_s or backfill_max_windows"),
        watermark=kept[0].start,
    )


class _Counter:
    """Counts consecutive instants without keeping them."""

    def __init__(self) -> None:
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._count = 0

    def add(self, instant: datetime) -> None:
        if self._first is None:
            self._first = instant
        self._last = instant
        self._count += 1

    def span(self, reason: str) -> Span | None:
        if self._first is None or self._last is None:
            return None
        return Span(first=self._first, through=self._last, count=self._count, reason=reason)


def _windows(windows: Iterable[DataInterval]) -> _Counter:
    counter = _Counter()
    for window in windows:
        counter.add(window.end)
    return counter

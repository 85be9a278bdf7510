"""Backfills: a line of the list, and one as a grid of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.core.types import BackfillState
from piko.model.backfills import Backfill
from piko.store.reports.overview import RunReport
from piko.web.views import links
from piko.web.views.words import Mark, Moment, Tone, length, moment, run_mark

_MARKS = {
    BackfillState.ACTIVE: Mark(text="Active", tone=Tone.BUSY),
    BackfillState.PAUSED: Mark(text="Paused", tone=Tone.WARN),
    BackfillState.CANCELLED: Mark(text="Cancelled", tone=Tone.QUIET),
    BackfillState.SUCCEEDED: Mark(text="Succeeded", tone=Tone.GOOD),
    BackfillState.FAILED: Mark(text="Failed", tone=Tone.BAD),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillLine:
    """A backfill in a list; the three shares are of 1,000."""

    backfill_id: str
    link: str
    job_id: str
    job_link: str
    mark: Mark
    range: str
    done: str
    succeeded: int
    failed: int
    created: Moment | None
    by: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A window of a grid."""

    link: str
    tone: str
    title: str


def backfill_line(item: Backfill, now: datetime) -> BackfillLine:
    """`item` as a line of the list."""
    ended = item.windows_succeeded + item.windows_failed
    return BackfillLine(
        backfill_id=item.backfill_id,
        link=links.backfill(item.backfill_id),
        job_id=item.job_id,
        job_link=links.job(item.job_id),
        mark=_MARKS[BackfillState(item.state)],
        range=f"{item.range_start:%Y-%m-%d %H:%M} to {item.range_end:%Y-%m-%d %H:%M}",
        done=f"{ended:,} of {item.windows_total:,}"
        + (f", {item.windows_failed:,} failed" if item.windows_failed else ""),
        succeeded=_share(item.windows_succeeded, item.windows_total),
        failed=_share(item.windows_failed, item.windows_total),
        created=moment(item.created_at, now),
        by=item.requested_by or "",
        message=item.message or "",
    )


def cells(runs: Sequence[RunReport]) -> list[Cell]:
    """The claimed windows in the order of their data, each with its latest attempt."""
    latest: dict[datetime, RunReport] = {}
    for run in runs:
        if run.window_start is None:
            continue
        known = latest.get(run.window_start)
        if known is None or known.attempt < run.attempt:
            latest[run.window_start] = run
    return [_cell(run, start) for start, run in sorted(latest.items())]


def _cell(run: RunReport, start: datetime) -> Cell:
    mark = run_mark(run.state)
    took = f", {length(run.duration_s)}" if run.duration_s is not None else ""
    attempt = f", attempt {run.attempt}" if run.attempt > 1 else ""
    return Cell(
        link=links.run(run.run_id),
        tone=mark.tone,
        title=f"{start:%Y-%m-%d %H:%M} UTC: {mark.text}{took}{attempt}",
    )


def not_claimed(item: Backfill, runs: Sequence[RunReport]) -> int:
    """How many windows of `item` no replica has claimed yet, as far as `runs` are all of its runs."""
    claimed = len({run.window_start for run in runs if run.window_start is not None})
    return max(item.windows_total - max(claimed, item.windows_succeeded + item.windows_failed), 0)


def _share(part: int, whole: int) -> int:
    return round(1000 * part / whole) if whole else 0

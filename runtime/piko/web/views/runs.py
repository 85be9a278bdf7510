"""Runs: a line of a list, the whole of one, and many of them as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.core.types import RunState
from piko.store.reports.overview import RunReport
from piko.web.views import links
from piko.web.views.words import Mark, Moment, first_line, length, moment, run_mark, stamp

_TALLEST = 40
_SHORTEST = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """A run in a list."""

    run_id: str
    link: str
    job_id: str
    job_link: str
    mark: Mark
    due: Moment | None
    window: str
    attempt: int
    trigger: str
    took: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A run as a bar: `height` of 40 by how long it took, and what a pointer and a screen reader say."""

    link: str
    tone: str
    x: int
    y: int
    height: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A name and what belongs to it."""

    name: str
    text: str
    link: str | None = None


def run_line(run: RunReport, now: datetime) -> RunLine:
    """`run` as a line of a list."""
    return RunLine(
        run_id=run.run_id,
        link=links.run(run.run_id),
        job_id=run.job_id,
        job_link=links.job(run.job_id),
        mark=run_mark(run.state, count=run.missed_count),
        due=moment(run.scheduled_time, now),
        window=window(run),
        attempt=run.attempt,
        trigger=run.trigger_type.replace("_", " "),
        took=took(run, now),
        error=first_line(run.error, most=160),
    )


def took(run: RunReport, now: datetime) -> str:
    """How long a run took, or takes so far."""
    if run.state == RunState.RUNNING and run.started_at is not None:
        return f"{length((now - run.started_at).total_seconds())} so far"
    return length(run.duration_s)


def window(run: RunReport) -> str:
    """The window of data that a run covers, or the last of the due times that its row stands for."""
    if run.window_start is not None and run.window_end is not None:
        same_day = run.window_start.date() == run.window_end.date()
        end = f"{run.window_end:%H:%M}" if same_day else f"{run.window_end:%Y-%m-%d %H:%M}"
        return f"{run.window_start:%Y-%m-%d %H:%M} to {end}"
    if run.missed_through is not None and run.missed_through != run.scheduled_time:
        return f"through {run.missed_through:%Y-%m-%d %H:%M}"
    return ""


def bars(runs: Sequence[RunReport], *, width: int = 10) -> list[Bar]:
    """`runs`, newest first, as bars from the oldest to the newest, `width` apart.

    The longest reaches 40; one that has no length, such as a missed due time, is as short as a bar can be.
    """
    longest = max((run.duration_s or 0.0 for run in runs), default=0.0)
    found = []
    for place, run in enumerate(reversed(runs)):
        share = (run.duration_s or 0.0) / longest if longest else 0.0
        height = max(_SHORTEST, round(share * _TALLEST))
        mark = run_mark(run.state, count=run.missed_count)
        ran = f", {length(run.duration_s)}" if run.duration_s is not None else ""
        found.append(
            Bar(
                link=links.run(run.run_id),
                tone=mark.tone,
                x=place * width,
                y=_TALLEST - height,
                height=height,
                title=f"{mark.text}, due {stamp(run.scheduled_time)}{ran}",
            )
        )
    return found


def facts(run: RunReport, now: datetime) -> list[Fact]:
    """What is known of `run`, in the order in which it happened."""
    queue = ""
    if run.started_at is not None:
        queue = f" ({length((run.started_at - run.scheduled_time).total_seconds())} after it was due)"
    found = [
        Fact(name="Due", text=stamp(run.scheduled_time)),
        Fact(name="Window", text=window(run) and f"{window(run)} UTC"),
        Fact(name="Why", text=run.trigger_type.replace("_", " ")),
        Fact(name="Attempt", text=str(run.attempt)),
        Fact(name="Not before", text="" if run.not_before is None else stamp(run.not_before)),
        Fact(name="Started", text="" if run.started_at is None else stamp(run.started_at) + queue),
        Fact(name="Finished", text="" if run.finished_at is None else stamp(run.finished_at)),
        Fact(name="Took", text=took(run, now)),
        Fact(name="Replica", text=run.instance_id or ""),
        Fact(name="Config", text="" if run.config_revision is None else f"revision {run.config_revision}"),
        Fact(name="Due times", text="" if run.missed_count is None else f"{run.missed_count:,}"),
        Fact(
            name="Backfill",
            text=run.backfill_id or "",
            link=None if run.backfill_id is None else links.backfill(run.backfill_id),
        ),
    ]
    return [fact for fact in found if fact.text]

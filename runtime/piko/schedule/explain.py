"""A schedule explained for a person: a sentence, the next instants, and remarks on surprises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, pairwise

from piko.schedule.instants import (
    EPOCH,
    FIRST_INSTANT,
    LAST_INSTANT,
    SECOND,
    to_datetime,
    to_microseconds,
)
from piko.schedule.month_days import shape_index
from piko.schedule.pattern import NEVER, CronPattern
from piko.schedule.schedule import Schedule
from piko.schedule.triggers import ElapsedCron, FixedCron, Interval, Once
from piko.schedule.wording import cron_in_words, length_in_words, values_of
from piko.schedule.zones import DAY, Segment, changes_between
from piko.text import instant_text

MOST_INSTANTS = 1000
_LOOK_AHEAD = 400 * DAY
_HOUR = 3600 * SECOND
_MONTH_LENGTHS = {1: 31, 2: 28, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}


@dataclass(frozen=True, slots=True)
class ExplainedInstant:
    """One instant of a schedule, in UTC and as the clock in the schedule's zone shows it."""

    instant: datetime
    local: datetime


@dataclass(frozen=True, slots=True)
class Explanation:
    """A schedule in words."""

    sentence: str
    """What it means, with its zone and its bounds."""
    instants: tuple[ExplainedInstant, ...]
    """The next ones."""
    remarks: tuple[str, ...]
    """Surprises: clock changes within the next 400 days that affect it, months and hours that it skips, and
    that it never fires again."""


def explain(schedule: Schedule, *, now: datetime, count: int = 5) -> Explanation:
    """What `schedule` means, and its next instants after `now`: `count` of them, at most 1,000."""
    instants = islice(schedule.between(now, to_datetime(schedule.end)), max(0, min(count, MOST_INSTANTS)))
    return Explanation(
        sentence=f"{_sentence(schedule)}{_bounds(schedule)}.",
        instants=tuple(ExplainedInstant(i, i.astimezone(schedule.zone)) for i in instants),
        remarks=tuple(_remarks(schedule, now)),
    )


def why_silent(schedule: Schedule, *, after: datetime) -> str | None:
    """Why `schedule` never fires after `after`, or None when it does."""
    if schedule.next_after(after) is not None:
        return None
    last = schedule.latest_at(after)
    known = f"; its last instant was {instant_text(last)}" if last else ""
    return f"it never fires after {instant_text(after)}{known}"


def _sentence(schedule: Schedule) -> str:
    match schedule.trigger:
        case FixedCron(pattern=pattern) | ElapsedCron(pattern=pattern):
            words = cron_in_words(pattern)
            return f"{words[0].upper()}{words[1:]}, {schedule.zone.key}"
        case Interval(period=period, anchor=anchor):
            origin = schedule.trigger.at_or_after(schedule.start) if anchor else FIRST_INSTANT
            return f"Every {length_in_words(period)}, on the grid of {_stamp(origin or FIRST_INSTANT)}"
        case Once(instant=instant):
            local = to_datetime(instant).astimezone(schedule.zone)
            return f"Once, at {local:%Y-%m-%d %H:%M:%S} in {schedule.zone.key} ({_stamp(instant)})"
    return f"{schedule.kind} {schedule.expression}"


def _bounds(schedule: Schedule) -> str:
    start = f", from {_stamp(schedule.start)}" if schedule.start > FIRST_INSTANT else ""
    return start + (f", until {_stamp(schedule.end)}" if schedule.end < LAST_INSTANT else "")


def _remarks(schedule: Schedule, now: datetime) -> Iterator[str]:
    silent = why_silent(schedule, after=now)
    if silent:
        yield f"{silent[0].upper()}{silent[1:]}."
        return
    start = max(schedule.start, to_microseconds(now)) // SECOND
    changes = changes_between(schedule.zone, start, min(start + _LOOK_AHEAD, schedule.end // SECOND))
    match schedule.trigger:
        case FixedCron(pattern=pattern) | ElapsedCron(pattern=pattern):
            fixed = isinstance(schedule.trigger, FixedCron)
            yield from _remarks_on_days(pattern)
            yield from _remarks_on_steps(pattern)
            for before, after in changes:
                yield from _remark_on_change(schedule, pattern, before, after, fixed=fixed)
        case Interval(period=period) if changes and period >= _HOUR:
            yield (
                "An interval counts elapsed time: the time of day in "
                f"{schedule.zone.key} moves when the clocks change."
            )


def _remarks_on_days(pattern: CronPattern) -> Iterator[str]:
    if pattern.days.either:
        yield (
            "A day that matches day of month or day of week will do; "
            "begin one of the two with * to ask for both."
        )
    elif pattern.weeks is None:
        months = values_of(pattern.months)
        shapes = [shape_index(first, _MONTH_LENGTHS[month]) for month in months for first in range(7)]
        if not all(pattern.masks[shape] for shape in shapes):
            yield "Not every month has such a day; months without one are skipped."


def _remarks_on_steps(pattern: CronPattern) -> Iterator[str]:
    for mask, cycle, unit, whole in (
        (pattern.seconds, 60, "second", "minute"),
        (pattern.minutes, 60, "minute", "hour"),
        (pattern.hours, 24, "hour", "day"),
    ):
        values = values_of(mask)
        steps = {b - a for a, b in pairwise(values)}
        if len(values) > 2 and len(steps) == 1 and values[0] < min(steps):
            (step,) = steps
            around = cycle - values[-1] + values[0]
            # What stops well before the end of the cycle is a range, and meant so.
            if around != step and values[-1] + step >= cycle:
                yield (
                    f"The steps of {step} {unit}s start again each {whole}: "
                    f"from {unit} {values[-1]} to {unit} {values[0]} it is {around}."
                )


def _remark_on_change(
    schedule: Schedule, pattern: CronPattern, before: Segment, after: Segment, *, fixed: bool
) -> Iterator[str]:
    old, new = after.start + before.offset, after.start + after.offset
    due = pattern.at_or_after(min(old, new))
    if due == NEVER or due >= max(old, new):
        return
    if new > old:
        way, outcome = "forward", f"comes at {_wall(new, '%H:%M')}" if fixed else "is skipped"
    else:
        way, outcome = "back", "comes once, in the first pass" if fixed else "comes in both passes"
    yield (
        f"On {_wall(old, '%Y-%m-%d')} clocks in {schedule.zone.key} go {way} "
        f"from {_wall(old, '%H:%M')} to {_wall(new, '%H:%M')}: what is due between {outcome}."
    )


def _wall(seconds: int, form: str) -> str:
    return f"{EPOCH + timedelta(seconds=seconds):{form}}"


def _stamp(instant: int) -> str:
    return instant_text(to_datetime(instant))

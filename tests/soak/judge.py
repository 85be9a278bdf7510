"""The judge: what the handlers noted and what the tables say, and every way in which they do not fit. Pure.

Handlers append a line when they begin and one when they end, to a file that no failure reaches. Rows are
those of `job_run`, none of them pruned.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

FINAL = {"SUCCESS", "FAILED", "TIMEOUT", "CANCELLED", "LOST", "SKIPPED", "MISSED"}
PASSED_OVER = {"SKIPPED", "MISSED"}


@dataclass(frozen=True, slots=True)
class Begun:
    """One call of a handler, as it noted it itself; times are seconds since 1970 of one machine's clock."""

    job_id: str
    scheduled: datetime
    run_id: str
    attempt: int
    at: float
    pid: int
    window_start: datetime | None = None
    ended_at: float | None = None
    succeeded: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of `job_run`; times are UTC without a zone, as they are stored."""

    job_id: str
    scheduled: datetime
    run_id: str
    attempt: int
    state: str
    through: datetime | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    may_have_begun: bool = True
    """False where it was claimed ahead, and its instance's start mark says that it has not begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for which job."""

    grid: timedelta
    """Its instants: every so often, from the first row on."""
    stateful: bool = False
    one_at_a_time: bool = True


def violations(
    rules: dict[str, Rules],
    rows: Sequence[Row],
    begun: Sequence[Begun],
    *,
    span: tuple[datetime, datetime] | None = None,
    set_back: Sequence[tuple[str, datetime]] = (),
) -> list[str]:
    """Everything that is not as promised.

    `span`: from when until when the rows of schedules were there and enabled, for certain. `set_back`: jobs
    whose watermark was set, and to where.
    """
    return [
        *_every_run_ended(rows),
        *_notes_fit_rows(rows, begun),
        *_no_due_time_ran_twice(rules, rows),
        *(text for job_id, rule in rules.items() for text in _of_job(job_id, rule, rows, begun, set_back)),
        *(text for job_id, rule in rules.items() if span for text in _fills(span, job_id, rule, rows)),
    ]


def _of_job(
    job_id: str,
    rule: Rules,
    rows: Sequence[Row],
    begun: Sequence[Begun],
    set_back: Sequence[tuple[str, datetime]],
) -> Iterator[str]:
    own = [row for row in rows if row.job_id == job_id]
    notes = [note for note in begun if note.job_id == job_id]
    if not own:
        yield f"{job_id}: it never ran"
        return
    if rule.stateful:
        moments = [at for job, at in set_back if job == job_id]
        yield from _windows_are_contiguous(job_id, own, moments)
        yield from _windows_follow_each_other(job_id, own, notes, moments)
    else:
        yield from _each_instant_is_accounted_for(job_id, rule, own)
    if rule.one_at_a_time:
        yield from _one_at_a_time(job_id, own, notes)


def _every_run_ended(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        if row.state not in FINAL:
            yield f"{row.job_id} {row.scheduled}: run {row.run_id} is stuck in {row.state}"
        if row.state == "LOST" and not row.may_have_begun:
            yield f"{row.job_id} {row.scheduled}: run {row.run_id} cannot have begun and is recorded as LOST"


def _notes_fit_rows(rows: Iterable[Row], begun: Iterable[Begun]) -> Iterator[str]:
    by_id = {row.run_id: row for row in rows}
    seen: set[str] = set()
    for note in begun:
        what = f"{note.job_id} {note.scheduled}: run {note.run_id}"
        if note.run_id in seen:
            yield f"{what} began twice"
        seen.add(note.run_id)
        row = by_id.get(note.run_id)
        if row is None:
            yield f"{what} began and has no row"
        elif (row.job_id, row.scheduled, row.attempt) != (note.job_id, note.scheduled, note.attempt):
            yield f"{what} ran as attempt {note.attempt} and is recorded as {row}"
        elif row.state in PASSED_OVER:
            yield f"{what} ran and is recorded as {row.state}"
        elif note.ended_at is not None and not note.succeeded and row.state == "SUCCESS":
            yield f"{what} failed and is recorded as SUCCESS"
        elif note.succeeded and row.state == "FAILED":
            yield f"{what} succeeded and is recorded as FAILED"
    succeeded = {note.run_id for note in begun if note.succeeded}
    for row in by_id.values():
        if row.state == "SUCCESS" and row.run_id not in succeeded:
            yield f"{row.job_id} {row.scheduled}: run {row.run_id} is SUCCESS, and no handler says so"


def _no_due_time_ran_twice(rules: dict[str, Rules], rows: Iterable[Row]) -> Iterator[str]:
    of_due_time: dict[tuple[str, datetime], list[Row]] = defaultdict(list)
    for row in rows:
        if row.state not in PASSED_OVER:
            of_due_time[row.job_id, row.scheduled].append(row)
    for (job_id, scheduled), attempts in of_due_time.items():
        if rules[job_id].stateful:
            continue  # a watermark that was set back runs them again
        if sum(row.state == "SUCCESS" for row in attempts) > 1:
            yield f"{job_id} {scheduled}: it succeeded more than once"
        numbers = [row.attempt for row in attempts if row.state != "CANCELLED"]
        if len(numbers) != len(set(numbers)):
            yield f"{job_id} {scheduled}: one attempt has several runs: {sorted(numbers)}"


def _each_instant_is_accounted_for(job_id: str, rule: Rules, rows: Sequence[Row]) -> Iterator[str]:
    spans = sorted({(row.scheduled, row.through or row.scheduled) for row in rows})
    reached = spans[0][0] - rule.grid
    for first, last in spans:
        if first > reached + rule.grid:
            yield f"{job_id}: nothing is recorded between {reached} and {first}"
        if first <= reached and last > first:
            yield f"{job_id}: {first} to {last} is recorded, and was before"
        reached = max(reached, last)


def _fills(span: tuple[datetime, datetime], job_id: str, rule: Rules, rows: Iterable[Row]) -> Iterator[str]:
    """Between first and last there is no gap; and they are where they should be."""
    own = [row for row in rows if row.job_id == job_id]
    if not own:
        return
    first, last = min(row.scheduled for row in own), max(row.through or row.scheduled for row in own)
    # The first window of all is the last full one when a leader first looks.
    if first > span[0] + rule.grid and not rule.stateful:
        yield f"{job_id}: nothing is recorded from {span[0]} to {first}"
    if last + rule.grid <= span[1]:
        yield f"{job_id}: nothing is recorded from {last} to {span[1]}"


def _one_at_a_time(job_id: str, rows: Sequence[Row], notes: Iterable[Begun]) -> Iterator[str]:
    # Of a run that was given up nobody knows when it ended; one that was recorded ended before its record.
    known = {row.run_id for row in rows if row.state in {"SUCCESS", "FAILED", "TIMEOUT"}}
    done = sorted(
        (note for note in notes if note.run_id in known and note.ended_at is not None),
        key=lambda note: note.at,
    )
    for earlier, later in pairwise(done):
        if earlier.ended_at is not None and later.at < earlier.ended_at:
            yield f"{job_id}: runs {earlier.run_id} and {later.run_id} ran at the same time"


def _windows_are_contiguous(job_id: str, rows: Sequence[Row], set_back: Sequence[datetime]) -> Iterator[str]:
    succeeded = [row for row in rows if row.state == "SUCCESS"]
    for start, count in Counter(row.window_start for row in succeeded).items():
        allowed = 1 + sum(start is not None and moment <= start for moment in set_back)
        if count > allowed:
            yield f"{job_id}: the window from {start} succeeded {count} times, and could {allowed}"
    for earlier, later in pairwise(_edges(rows)):
        if earlier[1] != later[0]:
            yield f"{job_id}: between the windows up to {earlier[1]} and from {later[0]} there is a gap"


def _windows_follow_each_other(
    job_id: str, rows: Sequence[Row], notes: Sequence[Begun], set_back: Sequence[datetime]
) -> Iterator[str]:
    window_end = {row.run_id: row.window_end for row in rows}
    reached: dict[datetime | None, float] = {}
    for note in notes:
        if note.succeeded and note.ended_at is not None:
            end = window_end.get(note.run_id)
            reached[end] = min(reached.get(end, note.ended_at), note.ended_at)
    begins = {*(start for start, _ in _edges(rows)[:1]), *set_back}
    for note in notes:
        if note.window_start is None or note.window_start in begins:
            continue
        before = reached.get(note.window_start)
        if before is None or before > note.at:
            yield f"{job_id}: the window from {note.window_start} began before the one before it succeeded"


def _edges(rows: Iterable[Row]) -> list[tuple[datetime, datetime]]:
    """Start and end of each window that succeeded, oldest first."""
    succeeded = (row for row in rows if row.state == "SUCCESS")
    return sorted(
        {(row.window_start, row.window_end) for row in succeeded if row.window_start and row.window_end}
    )

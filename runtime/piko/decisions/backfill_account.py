"""Backfills: the windows of a range, beside what is due.

A request keeps its own schedule and its own place in its range, so it goes on where it was after any crash,
whatever becomes of the row. It is worked off with what live runs leave over:

- at most `parallelism` of its windows are in progress; a window that waits for its retry keeps its place;
- a window starts only where one place more stays free, of `max_concurrent_runs` and of the job's concurrency
  group, so that the next live run finds it;
- its runs do not count for live runs: neither for the job's `max_instances` and chain of windows, nor for
  `max_concurrent_runs`, which bounds live runs alone.

Nothing in here awaits: the account is asked what to start and is told what was claimed, started and recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Protocol

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.core.types import BackfillState, DataInterval, RunState, TriggerType
from piko.decisions.placement import Placement
from piko.decisions.progress import Progress
from piko.decisions.slots import Slots
from piko.errors import ScheduleError
from piko.model.backfills import Backfill, BackfillStep
from piko.model.runs import Outcome, Run
from piko.schedule import Schedule, parse_schedule, without_bounds

PRIORITY = -(2**31 - 1)
"""Of its runs: the lowest that there is."""


def windows_within(schedule: Schedule, start: datetime, end: datetime) -> Iterator[DataInterval]:
    """The whole windows of `schedule` in `[start, end]`, oldest first, whatever its bounds."""
    edges = without_bounds(schedule).between(start - timedelta(microseconds=1), end)
    return (DataInterval(start=earlier, end=later) for earlier, later in pairwise(edges))


def schedule_of(request: Backfill) -> Schedule:
    """The schedule that a request was made with. Raises `ScheduleError`."""
    return parse_schedule(
        job_id=request.job_id,
        schedule_type=request.schedule_type,
        schedule_expr=request.schedule_expr,
        timezone=request.timezone,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillPlan:
    """What to claim and to start now, and why a request has to wait."""

    steps: Sequence[BackfillStep]
    retries: Sequence[Run]
    messages: Mapping[str, str | None]


_NO_PLACE = (
    "waits for a place: of max_concurrent_runs, and of the limit of its concurrency group, one is kept free "
    "for live runs"
)


class LiveWork(Protocol):
    """What backfills ask of the live work beside them."""

    def backfill_slots(self) -> Slots:
        """The slots that live runs leave over."""
        ...

    def holds_back(self, job: Job, now: datetime) -> str | None:
        """Why nothing of `job` can start now, whatever slots are free."""
        ...


class BackfillAccount:
    """The open requests under one term of leadership, and their runs."""

    def __init__(self, *, rows: AssessedRows, placement: Placement, new_id: Callable[[], str]) -> None:
        self.progress = Progress()
        self.elsewhere: set[str] = set()
        """Runs in progress whose end only the database can tell."""
        self._rows = rows
        self._placement = placement
        self._new_id = new_id
        self._open: dict[str, Backfill] = {}
        self._schedules: dict[str, Schedule] = {}

    # ---- what is -----------------------------------------------------------------------------------

    def observe(self, requests: Iterable[Backfill]) -> None:
        """Take over the open requests as they stand in the database."""
        self._open = {request.backfill_id: request for request in requests}
        self._schedules = {key: value for key, value in self._schedules.items() if key in self._open}

    def hold(self, runs: Iterable[Run]) -> None:
        """Runs of past leaders count as running until they have ended or are given up."""
        for run in runs:
            self.elsewhere.add(run.run_id)
            self.progress.begin(run)

    def orphans(self) -> list[Run]:
        """Runs whose request is over: it was cancelled."""
        runs = (*self.progress.waiting.values(), *self.progress.running.values())
        return [run for run in runs if run.backfill_id not in self._open]

    def job_of(self, backfill_id: str) -> str:
        """The job that an open request is for."""
        return self._open[backfill_id].job_id

    def asked_for(self) -> Iterator[tuple[str, DataInterval]]:
        """Which data of which job the open requests run again."""
        for request in self._open.values():
            yield request.job_id, DataInterval(start=request.range_start, end=request.range_end)

    def gone(self, run_ids: Iterable[str]) -> None:
        """Somebody has deleted or ended these runs in the database."""
        for run_id in run_ids:
            self.elsewhere.discard(run_id)
            run = self.progress.find(run_id)
            if run is not None and not self.progress.is_ending(run_id):
                self.progress.leave(run)

    # ---- what next ---------------------------------------------------------------------------------

    def due(self, live: LiveWork, now: datetime) -> BackfillPlan:
        """What to start now: the oldest request first. Nothing of it counts before it is claimed."""
        if not self._open:
            return BackfillPlan(steps=(), retries=(), messages={})
        slots = live.backfill_slots()
        steps: list[BackfillStep] = []
        retries: list[Run] = []
        messages: dict[str, str | None] = {}
        for request in self._open.values():
            if request.state is not BackfillState.ACTIVE:
                continue
            begun = len(retries) + len(steps)
            waits_for = self._fill(request, live, slots, steps, retries, now)
            running = any(run.run_id in self.progress.running for run in self._in_progress(request))
            message = None if running or begun < len(retries) + len(steps) else waits_for
            if message != request.message:
                messages[request.backfill_id] = message
        return BackfillPlan(steps=steps, retries=retries, messages=messages)

    def _fill(
        self,
        request: Backfill,
        live: LiveWork,
        slots: Slots,
        steps: list[BackfillStep],
        retries: list[Run],
        now: datetime,
    ) -> str | None:
        """Add what of `request` may start; the reason where something has to wait."""
        job = self._rows.job(request.job_id)
        if job is None:
            assessed = self._rows.get(request.job_id)
            return "the job has no row in scheduled_job" if assessed is None else assessed.message
        if (why := live.holds_back(job, now)) is not None:
            return why
        in_progress = self._in_progress(request)
        for run in sorted(in_progress, key=lambda item: item.scheduled_time):
            if run.run_id in self.progress.waiting and (run.not_before is None or run.not_before <= now):
                if not slots.has_place(job):
                    return _NO_PLACE
                slots.take(job)
                retries.append(self._placement.place(run, now))
        try:
            windows = self._next_windows(request, request.parallelism - len(in_progress))
        except ScheduleError as error:
            return f"the schedule that it was asked for with cannot be read: {error}"
        runs: list[Run] = []
        for window in windows:
            if not slots.has_place(job):
                break
            slots.take(job)
            runs.append(self._placement.place(self._run(request, window), now))
        if runs:
            last = runs[-1].scheduled_time
            steps.append(
                BackfillStep(backfill_id=request.backfill_id, since=request.next_start, to=last, runs=runs)
            )
        return None if len(runs) == len(windows) else _NO_PLACE

    def _next_windows(self, request: Backfill, count: int) -> list[DataInterval]:
        if count <= 0 or request.next_start >= request.range_end:
            return []
        schedule = self._schedules.get(request.backfill_id)
        if schedule is None:
            schedule = self._schedules[request.backfill_id] = schedule_of(request)
        return list(islice(windows_within(schedule, request.next_start, request.range_end), count))

    def _run(self, request: Backfill, window: DataInterval) -> Run:
        return Run(
            run_id=self._new_id(),
            job_id=request.job_id,
            scheduled_time=window.end,
            state=RunState.QUEUED,
            trigger_type=TriggerType.BACKFILL,
            priority=PRIORITY,
            window=window,
            backfill_id=request.backfill_id,
        )

    def _in_progress(self, request: Backfill) -> list[Run]:
        both = (*self.progress.running.values(), *self.progress.waiting.values())
        return [run for run in both if run.backfill_id == request.backfill_id]

    # ---- what became of it -------------------------------------------------------------------------

    def claimed(self, steps: Iterable[BackfillStep], won: Mapping[str, Run]) -> list[Run]:
        """The steps are written; the runs to start here."""
        starting: list[Run] = []
        for step in steps:
            ours = [won[run.run_id] for run in step.runs if run.run_id in won]
            if ours:
                request = self._open[step.backfill_id]
                self._open[step.backfill_id] = replace(request, next_start=step.to)
                for run in ours:
                    self._begin(run)
                starting.extend(run for run in ours if not run.is_offered)
            else:  # paused, cancelled or moved meanwhile: the next look tells
                self._open.pop(step.backfill_id, None)
        return starting

    def started(self, runs: Sequence[Run], won: set[str]) -> list[Run]:
        """The waiting runs that were still there; those to start here."""
        for run in runs:
            if run.run_id in won:
                self._begin(run)
            else:
                self.progress.leave(run)
        return [run for run in runs if run.run_id in won and not run.is_offered]

    def _begin(self, run: Run) -> None:
        self.progress.begin(run)
        if run.is_offered:
            self.elsewhere.add(run.run_id)

    def explained(self, messages: Mapping[str, str | None]) -> None:
        """The messages are written."""
        for backfill_id, message in messages.items():
            if backfill_id in self._open:
                self._open[backfill_id] = replace(self._open[backfill_id], message=message)

    def recorded(self, outcomes: Iterable[Outcome]) -> None:
        """The outcomes are written: free their places."""
        for outcome in outcomes:
            self.elsewhere.discard(outcome.run.run_id)
            self.progress.leave(outcome.run)
            if outcome.retry is not None:
                self.progress.wait(outcome.retry)

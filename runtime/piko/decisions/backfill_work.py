"""Backfills: the windows of a range, worked off with what live runs leave over. Pure.

A request keeps its own schedule and its own place in its range, so it goes on where it was after any crash,
whatever happens to the row:

- at most `parallelism` of its windows are in progress; a window that waits for its retry keeps its slot;
- a window starts only where one slot more stays free, of `max_concurrent_runs` and of the job's concurrency
  group, so that the next live run finds it;
- its runs do not count for live runs: neither for the job's `max_instances` and chain of windows, nor for
  `max_concurrent_runs`, which bounds live runs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from piko.catalog.assessed_rows import AssessedRows
from piko.core.types import BackfillState, DataInterval, RunState, TriggerType
from piko.decisions.agenda import Agenda
from piko.decisions.backfill_windows import schedule_of, windows_within
from piko.decisions.effects import ClaimWindows, ExplainBackfills, StartQueued
from piko.decisions.events import BackfillsExplained, Tick, WindowsClaimed
from piko.decisions.given_up import answered
from piko.decisions.open_runs import OpenRuns
from piko.decisions.outbox import Outbox
from piko.decisions.placement import Placement
from piko.decisions.run_orders import RunOrders
from piko.decisions.slots import Slots, SlotTable
from piko.decisions.work import Stage
from piko.errors import ScheduleError
from piko.model.backfills import Backfill, BackfillStep
from piko.model.runs import Outcome, Run
from piko.schedule import Schedule

PRIORITY = -(2**31 - 1)
"""Of its runs: the lowest that there is."""

_NO_SLOT = (
    "waits for a slot: of max_concurrent_runs, and of the limit of its concurrency group, one is kept free "
    "for live runs"
)
_CANCELLED = "its backfill was cancelled"


@dataclass(slots=True, kw_only=True)
class _Batch:
    """What is to be claimed and started in one turn, while it is being filled."""

    slots: Slots
    steps: list[BackfillStep] = field(default_factory=list)
    retries: list[Run] = field(default_factory=list)


class BackfillWork:
    """The source of the runs of backfills: the open requests."""

    def __init__(
        self,
        *,
        rows: AssessedRows,
        agenda: Agenda,
        progress: OpenRuns,
        slots: SlotTable,
        placement: Placement,
        orders: RunOrders,
        outbox: Outbox,
        new_id: Callable[[], str],
    ) -> None:
        self.progress = progress
        self._rows = rows
        self._agenda = agenda
        self._slots = slots
        self._placement = placement
        self._orders = orders
        self._outbox = outbox
        self._new_id = new_id
        self._open: dict[str, Backfill] = {}
        self._schedules: dict[str, Schedule] = {}

    @property
    def stages(self) -> Sequence[Stage]:
        """Windows and retries are chosen together, the oldest request first."""
        return (self._advance,)

    def observe(self, requests: Iterable[Backfill]) -> None:
        """Take over the open requests as they stand in the database."""
        self._open = {request.backfill_id: request for request in requests}
        self._schedules = {key: value for key, value in self._schedules.items() if key in self._open}

    def cancel_orphans(self, now: datetime) -> None:
        """End the runs whose request is over: it was cancelled."""
        runs = (*self.progress.waiting.values(), *self.progress.running.values())
        for run in runs:
            if run.backfill_id not in self._open:
                self._orders.cancel(run, _CANCELLED, now)

    # ---- what next ----------------------------------------------------------------------------------

    def _advance(self, tick: Tick) -> None:
        now = tick.now
        if not self._open:
            return
        for request in self._open.values():
            data = DataInterval(start=request.range_start, end=request.range_end)
            self._make_up(request.job_id, data)
        batch, messages = _Batch(slots=self._slots.for_backfills(now)), {}
        for request in self._open.values():
            if request.state is not BackfillState.ACTIVE:
                continue
            begun = len(batch.retries) + len(batch.steps)
            waits_for = self._fill(request, batch, now)
            running = any(run.run_id in self.progress.running for run in self._in_progress(request))
            message = None if running or begun < len(batch.retries) + len(batch.steps) else waits_for
            if message != request.message:
                messages[request.backfill_id] = message
        if batch.steps:
            self._outbox.put(ClaimWindows(steps=batch.steps, now=now))
        if batch.retries:
            self._outbox.put(StartQueued(runs=batch.retries, now=now))
        if messages:
            jobs = {backfill_id: self._open[backfill_id].job_id for backfill_id in messages}
            self._outbox.put(ExplainBackfills(messages=messages, jobs=jobs))

    def _make_up(self, job_id: str, data: DataInterval) -> None:
        """What a bound has dropped of `data` is given up no longer."""
        job, state = self._rows.scheduled(job_id), self._agenda.states.get(job_id)
        if job is not None and state is not None and (new := answered(state, by=data)) != state:
            self._agenda.note(job_id, replace(new, message=self._agenda.message(job, new)))

    def _fill(self, request: Backfill, batch: _Batch, now: datetime) -> str | None:
        """Add what of `request` may start; the reason where something has to wait."""
        job, slots = self._rows.job(request.job_id), batch.slots
        if job is None:
            assessed = self._rows.get(request.job_id)
            return "the job has no row in scheduled_job" if assessed is None else assessed.message
        if (why := self._agenda.holds_back(job, now)) is not None:
            return why
        in_progress = self._in_progress(request)
        for run in sorted(in_progress, key=lambda item: item.scheduled_time):
            if run.run_id in self.progress.waiting and (run.not_before is None or run.not_before <= now):
                if not slots.has_slot(job):
                    return _NO_SLOT
                slots.take(job)
                batch.retries.append(self._placement.place(run, now))
        try:
            windows = self._next_windows(request, request.parallelism - len(in_progress))
        except ScheduleError as error:
            return f"the schedule that it was asked for with cannot be read: {error}"
        runs: list[Run] = []
        for window in windows:
            if not slots.has_slot(job):
                break
            slots.take(job)
            runs.append(self._placement.place(self._run(request, window), now))
        if runs:
            last = runs[-1].scheduled_time
            step = BackfillStep(backfill_id=request.backfill_id, since=request.next_start, to=last, runs=runs)
            batch.steps.append(step)
        return None if len(runs) == len(windows) else _NO_SLOT

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
            traceparent=request.traceparent,
        )

    def _in_progress(self, request: Backfill) -> list[Run]:
        both = (*self.progress.running.values(), *self.progress.waiting.values())
        return [run for run in both if run.backfill_id == request.backfill_id]

    # ---- what follows -------------------------------------------------------------------------------

    def claimed(self, event: WindowsClaimed) -> None:
        """The steps are written: take their runs into the account, and start what is to start here."""
        starting: list[Run] = []
        for step in event.steps:
            ours = [event.won[run.run_id] for run in step.runs if run.run_id in event.won]
            if ours:
                request = self._open[step.backfill_id]
                self._open[step.backfill_id] = replace(request, next_start=step.to)
                for run in ours:
                    self.progress.begin(run)
                starting.extend(run for run in ours if not run.is_offered)
            else:  # paused, cancelled or moved meanwhile: the next read shows it
                self._open.pop(step.backfill_id, None)
        self._orders.start(starting, event.now)

    def explained(self, event: BackfillsExplained) -> None:
        """The messages are written."""
        for backfill_id, message in event.messages.items():
            if backfill_id in self._open:
                self._open[backfill_id] = replace(self._open[backfill_id], message=message)

    def started(self, runs: Sequence[Run], won: Collection[str], now: datetime) -> None:
        """Of `runs` that waited, those of `won` were still there, and begin."""
        for run in runs:
            if run.run_id in won:
                self.progress.begin(run)
            else:
                self.progress.leave(run)
        self._orders.start([run for run in runs if run.run_id in won and not run.is_offered], now)

    def recorded(self, outcomes: Sequence[Outcome], now: datetime) -> None:  # noqa: ARG002 - windows wait for no moment
        """The outcomes are written: free their slots."""
        for outcome in outcomes:
            self.progress.leave(outcome.run)
            if outcome.retry is not None:
                self.progress.wait(outcome.retry)

    def left(self, ends: Mapping[str, RunState | None], now: datetime) -> None:  # noqa: ARG002 - see `recorded`
        """Runs have ended without this replica, as the database says, or were deleted."""
        for _ in self.progress.let_go(ends):
            pass

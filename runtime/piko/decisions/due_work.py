"""Live work: what comes due is claimed, started and followed to its end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.core.types import OverlapPolicy, RunState, TriggerType
from piko.decisions.agenda import Agenda
from piko.decisions.claims_ahead import ClaimsAhead
from piko.decisions.due_planner import DuePlanner
from piko.decisions.effects import Claim, Level, StartQueued
from piko.decisions.events import Claimed, Requeued, Tick
from piko.decisions.lateness import overdue
from piko.decisions.open_runs import OpenRuns
from piko.decisions.outbox import Outbox
from piko.decisions.placement import Placement
from piko.decisions.run_orders import RunOrders
from piko.decisions.skips import Skips
from piko.decisions.slots import SlotTable
from piko.decisions.work import Stage
from piko.model.runs import Outcome, Run


class DueWork:
    """The source of live runs: the jobs' schedules, and what waits in the queue."""

    def __init__(
        self,
        *,
        rows: AssessedRows,
        agenda: Agenda,
        progress: OpenRuns,
        ahead: ClaimsAhead,
        skips: Skips,
        slots: SlotTable,
        placement: Placement,
        orders: RunOrders,
        outbox: Outbox,
        new_id: Callable[[], str],
    ) -> None:
        self.progress = progress
        self._rows = rows
        self._agenda = agenda
        self._ahead = ahead
        self._skips = skips
        self._slots = slots
        self._placement = placement
        self._orders = orders
        self._outbox = outbox
        self._planner = DuePlanner(
            rows=rows, agenda=agenda, progress=progress, slots=slots, placement=placement, new_id=new_id
        )

    @property
    def stages(self) -> Sequence[Stage]:
        """What waits starts after what is due is claimed: a newer instant may take its turn."""
        return self._claim_due, self._start_waiting

    # ---- what is due --------------------------------------------------------------------------------

    def _claim_due(self, tick: Tick) -> None:
        """Of jobs that are left out too: their claims are put off."""
        now = tick.now
        for run in self._ahead.take_begun(now):
            self._outbox.series.ran(run.job_id, run.starts_at)
        for run, why in overdue(self.progress.waiting.values(), self._rows, now):
            self._outbox.series.passed_over(run.job_id, RunState.MISSED, "misfire")
            self._orders.conclude(run, RunState.MISSED, why, now)
        self._skips.leave_out(now)
        self._agenda.look_for_configs(now)
        plan = self._planner.plan(now, first=self._startable(now), ahead=tick.ahead)
        if plan.states:
            self._outbox.put(plan.claim())

    def claimed(self, event: Claimed) -> None:
        """The batch is written: take it into the account, and start what is to start here."""
        claim, now = event.claim.without(event.left_out), event.now
        if event.again_at is not None:
            self._agenda.put_off(event.held, event.again_at)
        for run in claim.replaced:
            reason = "replaced by a newer due time (overlap_policy = replace)"
            self._orders.cancel(run, reason, now)
        for run in claim.superseded:
            why = "superseded by a newer due time (overlap_policy = queue)"
            self._outbox.series.passed_over(run.job_id, RunState.SKIPPED, "superseded")
            self._orders.conclude(run, RunState.SKIPPED, why, now)
        self._take_over(claim, event.won)
        self._agenda.backlogs.note(claim.batch.states, self._rows, since=claim.now, now=now)
        for run_id, decided_by in claim.ahead.items():
            if run_id in event.won:
                self._ahead.note(event.won[run_id], decided_by)
        self._orders.start([run for run in event.won.values() if self._takes_up(run)], now)
        for item in claim.given_up:
            self._outbox.log(Level.ERROR, "data_given_up", **item.facts)

    def _take_over(self, claim: Claim, won: Mapping[str, Run]) -> None:
        """What was claimed counts now, but for windows that the database refused."""
        agenda, batch = self._agenda, claim.batch
        for state in batch.states:
            agenda.states[state.job_id] = state
            agenda.unseen.pop(state.job_id, None)
        refused = {run.job_id for run in batch.runs if run.window is not None and run.run_id not in won}
        for item, reason in zip(batch.passed_over, claim.reasons, strict=True):
            if item.job_id not in refused:
                self._outbox.series.passed_over(item.job_id, item.state, reason, item.count)
        for move in batch.watermarks:
            if move.job_id not in refused:
                agenda.watermarks.move(move.job_id, move.old, move.new)
        for job_id in refused:
            # Another run holds the window, or somebody has set the watermark: the row will tell.
            agenda.watermarks.doubt(job_id)
            agenda.look_again(job_id, claim.now, failed=True)

    def _takes_up(self, run: Run) -> bool:
        """Take a claimed run into the account; whether it starts here."""
        if run.window is not None:
            self._agenda.failed.forget(run.job_id)
        if run.state is RunState.QUEUED and not run.is_offered:
            self.progress.wait(run)
        else:
            self.progress.begin(run)
        return run.state is RunState.RUNNING

    def requeued(self, event: Requeued) -> None:
        """Runs that nobody has begun wait for their time, and may be taken back until then as before.

        One that could not be had has ended otherwise.
        """
        agenda = self._agenda
        for run in sorted(event.runs, key=lambda item: item.scheduled_time):
            self.progress.leave(run)
            if run.run_id not in event.won:
                continue
            self.progress.wait(run.queued_for_its_time())
            why = f"its instance {run.instance_id} ended before it was to start"
            self._outbox.log(Level.WARNING, "run_requeued", job_id=run.job_id, run_id=run.run_id, why=why)
            if self._ahead.return_to_queue(run, agenda.states.get(run.job_id), self._rows, event.now):
                self._outbox.take_in_again(run.job_id)  # its row may have changed meanwhile

    # ---- what waits ---------------------------------------------------------------------------------

    def _start_waiting(self, tick: Tick) -> None:
        now = tick.now
        if chosen := self._startable(now, without=tick.left_out):
            runs = [self._placement.place(run, now) for run in chosen]
            self._outbox.put(StartQueued(runs=runs, now=now))

    def _startable(self, now: datetime, *, without: Collection[str] = ()) -> list[Run]:
        """What waits, may start now and finds a slot, by priority; nothing of jobs of `without`.

        Runs whose row is deleted are among them, so that they come to an end.
        """
        chosen: list[Run] = []
        if not self.progress.waiting:
            return chosen
        slots = self._slots.for_live(now)
        waiting = self.progress.waiting.values()
        for run in sorted(waiting, key=lambda item: (-item.priority, item.scheduled_time)):
            if run.job_id in without or (run.not_before is not None and run.not_before > now):
                continue
            if self._agenda.refusals.held(run.job_id, now) is not None:
                continue
            job = self._rows.job(run.job_id)
            if job is None and run.job_id in self._rows:
                continue  # its row or its code cannot be run now, and may be again
            if job is not None:
                if slots.running(job) >= _limit(job) or not slots.has_slot(job):
                    continue
                if self._agenda.lacks_config(job, now) is not None:
                    continue
                slots.take(job)
            chosen.append(run)
        return chosen

    def started(self, runs: Sequence[Run], won: Collection[str], now: datetime) -> None:
        """Of `runs` that waited, those of `won` were still there, and begin."""
        for run in runs:
            if run.run_id in won:
                self.progress.begin(run)
            else:
                self.progress.leave(run)
                self._agenda.look_again(run.job_id, now, failed=False)
        self._orders.start([run for run in runs if run.run_id in won and not run.is_offered], now)

    # ---- the end of runs ----------------------------------------------------------------------------

    def recorded(self, outcomes: Sequence[Outcome], now: datetime) -> None:
        """The outcomes are written: free their slots, and look at what follows."""
        for outcome in outcomes:
            run, move = outcome.run, outcome.watermark
            self.progress.leave(run)
            if outcome.retry is not None:
                self.progress.wait(outcome.retry)
            job = self._rows.job(run.job_id)
            # A watermark that somebody set meanwhile counts: the database refused the move, too.
            if job is not None and move is not None and self._agenda.watermark(job) == move.old:
                self._agenda.watermarks.move(run.job_id, move.old, move.new)
            failed = outcome.state is not RunState.SUCCESS and outcome.retry is None
            self._agenda.look_again(run.job_id, now, failed=failed)

    def left(self, ends: Mapping[str, RunState | None], now: datetime) -> None:
        """Runs have ended without this replica, as the database says; None: their rows are deleted."""
        for run in self.progress.let_go(ends):
            state, job = ends[run.run_id], self._rows.job(run.job_id)
            moved = job is not None and state is RunState.SUCCESS and run.follows_watermark
            if moved and job and run.window and self._agenda.watermark(job) == run.window.start:
                self._agenda.watermarks.move(run.job_id, run.window.start, run.window.end)
            failed = state not in (None, RunState.SUCCESS, RunState.SKIPPED)
            self._agenda.look_again(run.job_id, now, failed=failed and not self.progress.busy(run.job_id))

    def awaits_end(self, *, without: Collection[str]) -> bool:
        """Whether something waits for the end of a run on another replica, but for those of `without`.

        The next window of a backlog does, or the next due time of its job.
        """
        waiting = {run.job_id for run in self.progress.waiting.values()}
        runs = (self.progress.find(run_id) for run_id in self.progress.remote.difference(without))
        return any(
            run is not None and (run.trigger_type is TriggerType.CATCH_UP or run.job_id in waiting)
            for run in runs
        )


def _limit(job: Job) -> float:
    """How many runs of a job may be in progress before what waits goes on waiting."""
    if job.definition.stateful:
        return 1
    return float("inf") if job.overlap_policy is OverlapPolicy.ALLOW else job.row.max_instances

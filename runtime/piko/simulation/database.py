"""A model of what the leader reads and writes.

It holds the promises of the store that decisions rest on: a due time is won once, a window only at the
watermark, a watermark moves by compare-and-set, a queued run starts once, its window only at the watermark,
and a step of a backfill is taken from where the request stands. A claim that is taken back leaves its due
time free, and the cursor before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from piko.catalog.assessed_rows import AssessedRows
from piko.core.types import FAILED_STATES, FINAL_STATES, RunState
from piko.decisions import effects, events
from piko.model.backfills import Backfill, BackfillStep
from piko.model.claims import states_before
from piko.model.runs import DueTime, Outcome, PassedOver, Run
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove


class ModelDatabase:
    """Tables in memory. `rows` are the rows as a replica has read them, whose watermark may be an old one."""

    def __init__(self, *, rows: AssessedRows) -> None:
        self.rows = rows
        self.states: dict[str, JobState] = {}
        self.watermarks: dict[str, datetime | None] = {}
        """Of rows whose `last_data_time` is not the one that was read."""
        self.history: list[Run] = []
        """Every state that a run was in, in the order of the writes."""
        self.passed_over: list[PassedOver] = []
        self.completed: set[str] = set()
        self.backfills: dict[str, Backfill] = {}
        self.lost: set[str] = set()
        """Jobs whose claims find that somebody else has made them."""
        self.locked: set[str] = set()
        """Jobs whose row in `scheduled_job` somebody holds."""
        self._latest: dict[str, Run] = {}
        self._locks: dict[DueTime, Run] = {}

    # ---- what is ------------------------------------------------------------------------------------

    def watermark(self, job_id: str) -> datetime | None:
        """Up to where the data of the job is done. Raises `KeyError` where it has no row."""
        return self.watermarks.get(job_id, self.rows[job_id].row.last_data_time)

    def in_state(self, state: RunState) -> list[Run]:
        """The runs in `state`, by the time at which they got there."""
        return [run for run in self._latest.values() if run.state is state]

    def put(self, *runs: Run) -> None:
        """Somebody else writes these runs as they are: queues them, ends them."""
        self._note(runs)

    def delete(self, job_id: str) -> None:
        """The row of the job is deleted; what it had done is in its state."""
        del self.rows[job_id]
        self.watermarks.pop(job_id, None)

    # ---- effects ------------------------------------------------------------------------------------

    def carry_out(self, effect: effects.Write, now: datetime) -> events.Event | None:
        """Read or write; the answer, where there is one."""
        match effect:
            case effects.ReadStates(job_ids=job_ids):
                known = {job_id: self.states[job_id] for job_id in job_ids if job_id in self.states}
                return events.StatesRead(job_ids=job_ids, states=known, now=now)
            case effects.RestoreWatermarks(moves=moves):
                return self._restore(moves)
            case effects.WriteStates(states=states):
                self._store(states)
                return events.StatesWritten(held=())
            case effects.MarkDeleted(job_ids=job_ids):
                for job_id in job_ids:
                    self.states[job_id] = replace(self.states[job_id], row_created_at=None, row_gone_at=now)
                return None
            case effects.CopyWatermarks(job_ids=job_ids):
                for job_id in job_ids:
                    known_state = self.states[job_id]
                    self.states[job_id] = replace(known_state, data_through=self.watermark(job_id))
                return None
            case _:
                return self._carry_out_of_runs(effect, now)

    def _carry_out_of_runs(self, effect: effects.Write, now: datetime) -> events.Event:
        match effect:
            case effects.Claim():
                return events.Claimed(claim=effect, won=self._claim(effect), now=now)
            case effects.Requeue(runs=runs):
                there = [run for run in runs if self._is(run, RunState.RUNNING)]
                self._note(run.queued_for_its_time() for run in there)
                return events.Requeued(runs=runs, won={run.run_id for run in there}, now=now)
            case effects.StartQueued(runs=runs):
                there = [run for run in runs if self._is(run, RunState.QUEUED)]
                won = [run for run in there if self._is_to_do(run)]
                self._note(won)
                self._note(replace(run, state=RunState.SKIPPED) for run in there if not self._is_to_do(run))
                return events.QueuedStarted(runs=runs, won={run.run_id for run in won}, now=now)
            case effects.ClaimWindows(steps=steps):
                ours = {run.run_id: run for step in steps if self._take(step) for run in step.runs}
                self._note(ours.values())
                return events.WindowsClaimed(steps=steps, won=ours, now=now)
            case effects.ExplainBackfills(messages=messages):
                for backfill_id, message in messages.items():
                    self.backfills[backfill_id] = replace(self.backfills[backfill_id], message=message)
                return events.BackfillsExplained(messages=messages)
            case effects.ReadQueue():
                return self.queue(asked=(), now=now)
            case _:
                raise TypeError(f"no such write: {effect!r}")

    def withdraw(
        self, effect: effects.Withdraw, *, begun: Collection[str], now: datetime
    ) -> events.Withdrawn:
        """Take claims back, but for the runs of `begun`."""
        open_ = [item for item in effect.withdrawals if item.run.run_id not in begun]
        mine = [
            item for item in open_ if self._is(item.run, RunState.QUEUED if item.queued else RunState.RUNNING)
        ]
        self._note(replace(item.run, state=RunState.CANCELLED) for item in mine)
        self._store(states_before(mine))
        for item in mine:
            self._locks.pop(item.run.due_time, None)
        won = {item.run.run_id for item in mine}
        return events.Withdrawn(withdrawals=effect.withdrawals, won=won, begun=begun, now=now)

    def queue(self, *, asked: Iterable[str], now: datetime) -> events.QueueRead:
        """What waits, and which backfills are open; `asked`: what the leader knew to wait."""
        return events.QueueRead(
            asked=frozenset(asked),
            runs=self.in_state(RunState.QUEUED),
            complete=True,
            backfills=list(self.backfills.values()),
            now=now,
        )

    def record(self, outcome: Outcome) -> None:
        """Write how a run ended, with what follows from it."""
        run = outcome.run
        self._note([replace(run, state=outcome.state)])
        if outcome.retry is not None:
            self._note([outcome.retry])
            self._locks[run.due_time] = outcome.retry
        if run.job_id in self.states:
            self.states[run.job_id] = summed_up(self.states[run.job_id], outcome)
        if outcome.watermark is not None:
            self._done(outcome.watermark)

    # ---- rows ---------------------------------------------------------------------------------------

    def _restore(self, moves: Iterable[WatermarkMove]) -> events.WatermarksRestored:
        moves = list(moves)
        found: dict[str, datetime | None] = {}
        for move in moves:
            if move.job_id not in self.locked:
                self._move(move)
                found[move.job_id] = self.watermark(move.job_id)
        return events.WatermarksRestored(moves=moves, found=found)

    def _move(self, move: WatermarkMove) -> None:
        """Move the watermark of a row, and its copy, where it stands at `old`."""
        if move.job_id in self.rows and self.watermark(move.job_id) == move.old:
            self.watermarks[move.job_id] = move.new
            self._keep(move.job_id, move.new)

    def _done(self, move: WatermarkMove) -> None:
        """A window is done. Where its job has no row, or a new one without a watermark, the copy says so."""
        self._move(move)
        of_row = self.watermark(move.job_id) if move.job_id in self.rows else None
        if of_row is not None:
            self._keep(move.job_id, of_row)
        elif move.job_id in self.states and self.states[move.job_id].data_through == move.old:
            self._keep(move.job_id, move.new)

    def _keep(self, job_id: str, watermark: datetime) -> None:
        if job_id in self.states:
            self.states[job_id] = replace(self.states[job_id], data_through=watermark)

    def _store(self, states: Iterable[JobState]) -> None:
        """The copy of the watermark is not among what claims and states write."""
        for state in states:
            known = self.states.get(state.job_id)
            kept = None if known is None else known.data_through
            self.states[state.job_id] = replace(state, data_through=kept)

    # ---- runs ---------------------------------------------------------------------------------------

    def _claim(self, claim: effects.Claim) -> dict[str, Run]:
        batch = claim.batch
        self.passed_over.extend(batch.passed_over)
        self.completed.update(batch.completed)
        self._store(batch.states)
        for move in batch.watermarks:
            self._move(move)
        won: dict[str, Run] = {}
        for run in batch.runs:
            if run.job_id not in self.lost and (ours := self._lock(run)) is not None:
                won[run.run_id] = ours
        self._note(won.values())
        return won

    def _lock(self, run: Run) -> Run | None:
        """`run` with its attempt where its due time is free: nobody's, or a window's that is to run again."""
        holder = self._locks.get(run.due_time)
        if run.window is None and holder is not None:
            return None
        if not self._is_to_do(run):
            return None
        if holder is not None:
            state = self._latest[holder.run_id].state
            if state not in FINAL_STATES:
                return None
            run = run if state is RunState.SUCCESS else replace(run, attempt=holder.attempt + 1)
        self._locks[run.due_time] = run
        return run

    def _is_to_do(self, run: Run) -> bool:
        """Whether `run` is one that its job's watermark has not left."""
        if run.window is None or not run.follows_watermark:
            return True
        return run.job_id in self.rows and self.watermark(run.job_id) == run.window.start

    def _take(self, step: BackfillStep) -> bool:
        request = self.backfills.get(step.backfill_id)
        if request is None or request.next_start != step.since or step.job_id in self.lost:
            return False
        self.backfills[step.backfill_id] = replace(request, next_start=step.to)
        return True

    def _note(self, runs: Iterable[Run]) -> None:
        for run in runs:
            self.history.append(run)
            self._latest.pop(run.run_id, None)
            self._latest[run.run_id] = run

    def _is(self, run: Run, state: RunState) -> bool:
        latest = self._latest.get(run.run_id)
        return latest is not None and latest.state is state


def summed_up(state: JobState, outcome: Outcome) -> JobState:
    """A job's summary once `outcome` is part of it; the columns of claims stay as they are."""
    succeeded = outcome.state is RunState.SUCCESS
    failed = outcome.state in FAILED_STATES
    return replace(
        state,
        last_run_id=outcome.run.run_id,
        last_state=outcome.state.value,
        last_scheduled_time=outcome.run.scheduled_time,
        last_started_at=outcome.started_at,
        last_duration_s=outcome.duration_s,
        last_error=outcome.error,
        last_success_at=outcome.finished_at if succeeded else state.last_success_at,
        last_failure_at=outcome.finished_at if failed else state.last_failure_at,
        consecutive_failures=0 if succeeded else state.consecutive_failures + failed,
    )

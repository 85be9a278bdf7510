"""A leader without a database server: a term, and a model of what it writes.

The model holds the promises of the store that decisions rest on: a due time is won once, a window only at the
watermark, and the watermark moves by compare-and-set.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.catalog.jobs import Job, assess
from piko.core.registry import JobDefinition, JobRegistry
from piko.core.types import FINAL_STATES, RunState
from piko.decisions.lateness import overdue
from piko.decisions.placement import Here
from piko.execution.outcome import Ending, conclude
from piko.model.fences import Fence, InstanceFence
from piko.model.runs import Outcome, PassedOver, Run
from piko.model.states import JobState
from piko.observability.metrics import Metrics
from piko.scheduler.term import Term
from tests.scheduler.making import NOON, definition, registry, row
from tests.store.making import with_outcome


class Leader:
    """Rows, one leader, and what it has done."""

    def __init__(self, *definitions: JobDefinition, places: int = 1000) -> None:
        self.now = NOON
        self.registry: JobRegistry = registry(*(definitions or (definition(),)))
        self.catalog = Catalog(loaded=True)
        self.configs = ConfigBook(registry=self.registry)
        self.metrics = Metrics()
        self.states: dict[str, JobState] = {}
        self.writes = 0
        self.history: list[Run] = []
        self.passed_over: list[PassedOver] = []
        self.ended: dict[str, RunState] = {}
        self.completed: set[str] = set()
        self.replaced: list[str] = []
        self.stored: dict[str, datetime | None] = {}
        self.jumps: set[datetime] = set()
        """Where a watermark was put by somebody, or by a bound."""
        self._locks: dict[tuple[str, datetime], Run] = {}
        self._jobs: dict[str, Job] = {}
        self._places = places
        self._numbers = itertools.count(1)
        self._epochs = itertools.count(1)
        self.take_over()

    # ---- rows -------------------------------------------------------------------------------------

    def write(
        self, job_id: str = "job", expression: Any = None, *, look: bool = True, **columns: Any
    ) -> None:
        """Insert or update a row, and let the leader see it."""
        known = self.catalog.assessed_rows.get(job_id)
        created_at = self.now if known is None else known.row.created_at
        times = {"created_at": created_at, "updated_at": self.now}
        self._put(row(job_id, expression, **{**times, **columns}))
        if look:
            self.look()

    def edit(self, job_id: str = "job", *, look: bool = True, **columns: Any) -> None:
        """Change columns of a row by SQL."""
        before = self.catalog.assessed_rows[job_id].row
        self._put(replace(before, **{"updated_at": self.now, **columns}))
        if look:
            self.look()

    def delete(self, job_id: str = "job", *, look: bool = True) -> None:
        del self.catalog.assessed_rows[job_id]
        self.stored.pop(job_id, None)
        self.catalog.touch({job_id})
        if look:
            self.look()

    def _put(self, new: Any) -> None:
        assessed = assess(new, registry=self.registry, timezone="UTC")
        self.catalog.assessed_rows[new.job_id] = replace(assessed, seen_at=new.updated_at)
        if assessed.job is not None:
            self._jobs[new.job_id] = assessed.job  # a handler goes on when its row is gone
        self.catalog.touch({new.job_id})

    def look(self) -> None:
        """The dispatcher adopts what changed."""
        job_ids = self.catalog.take_changed()
        unmet = self.term.unmet(job_ids)
        self.term.meet(unmet, {job_id: self.states[job_id] for job_id in unmet if job_id in self.states})
        adopted = self.term.adopt(job_ids, self.now)
        for move in adopted.restore:
            self._move(move.job_id, move.old, move.new)
        self.term.restored(
            adopted.restore, {move.job_id: self.watermark(move.job_id) for move in adopted.restore}
        )
        self.writes += len(adopted.states)
        self._store(adopted.states)
        for job_id in adopted.gone:
            known = self.states[job_id]
            self.states[job_id] = replace(known, row_created_at=None, row_gone_at=self.now)
        for job_id in adopted.copy:
            self.states[job_id] = replace(self.states[job_id], data_through=self.watermark(job_id))

    def take_over(self) -> None:
        """Another replica leads from here: it knows what was written, and nothing else."""
        self.term = Term(
            catalog=self.catalog,
            configs=self.configs,
            states=dict(self.states),
            fence=Fence(name="default", epoch=next(self._epochs)),
            placement=Here(instance_id="here"),
            metrics=self.metrics,
            new_id=lambda: f"run-{next(self._numbers)}",
            max_concurrent_runs=self._places,
        )
        latest = {run.run_id: run for run in self.history}
        self.term.held_elsewhere(run for run in latest.values() if run.state is RunState.RUNNING)
        self.term.progress.enqueue(run for run in latest.values() if run.state is RunState.QUEUED)
        self.catalog.touch({*self.catalog.assessed_rows, *self.states})
        self.look()

    # ---- time -------------------------------------------------------------------------------------

    def until(self, moment: datetime) -> None:
        """Let time pass; whatever comes due is claimed and started at its own moment."""
        for _ in range(10_000):
            self.work()
            moments = (self.term.timetable.earliest(), self.term.progress.next_start(self.now))
            following = min((item for item in moments if item is not None), default=None)
            if following is None or following > moment:
                self.now = max(self.now, moment)
                return
            assert following > self.now, "the dispatcher would spin"
            self.now = following
        raise AssertionError("the dispatcher finds no end")

    def away(self, duration: timedelta) -> None:
        """Nobody leads for a while."""
        self.now += duration
        self.take_over()

    def work(self) -> None:
        """One turn of the dispatcher's loop after the other, until nothing more is to be done now."""
        for _ in range(10_000):
            if self.catalog.changed:
                self.look()
            for run, _ in overdue(self.term.progress.waiting.values(), self.catalog.assessed_rows, self.now):
                self._record(
                    Outcome(
                        run=run, state=RunState.MISSED, started_at=None, finished_at=self.now, duration_s=None
                    )
                )
            if not self._claim() + self._start_waiting():
                return
        raise AssertionError("the dispatcher finds no end")

    def _claim(self) -> int:
        plan = self.term.due(self.now)
        if not plan.states:
            return 0
        won = self._written(plan)
        self.replaced.extend(run.run_id for run in plan.replaced)
        for run in plan.superseded:
            self._record(
                Outcome(
                    run=run, state=RunState.SKIPPED, started_at=None, finished_at=self.now, duration_s=None
                )
            )
        self.term.claimed(plan, won, self.now)
        return 1

    def _written(self, plan: Any) -> dict[str, Run]:
        batch = plan.batch("token")
        self.passed_over.extend(batch.passed_over)
        self.completed |= set(batch.completed)
        self._store(batch.states)
        for move in batch.watermarks:
            self.jumps.add(move.new)
            self._move(move.job_id, move.old, move.new)
        won = {}
        for run in batch.runs:
            holder = self._locks.get(run.due_time)
            if run.window is None and holder is not None:
                continue
            if run.window is not None and self.watermark(run.job_id) != run.window.start:
                continue
            if holder is not None and self._state(holder) not in FINAL_STATES:
                continue
            again = holder is not None and self._state(holder) is not RunState.SUCCESS
            claimed = replace(run, attempt=holder.attempt + 1) if again and holder else run
            self._locks[run.due_time] = claimed
            self.history.append(claimed)
            won[run.run_id] = claimed
        return won

    def _start_waiting(self) -> int:
        chosen = self.term.startable(self.now)
        won = {run.run_id for run in chosen if self._state(run) is RunState.QUEUED}
        self.history.extend(run for run in chosen if run.run_id in won)
        self.term.started(chosen, won, self.now)
        return len(chosen)

    # ---- ends of runs -----------------------------------------------------------------------------

    def finish(self, run: Run | None = None, state: RunState = RunState.SUCCESS) -> Run:
        """The handler of `run` (or of the one that runs) ends so, and it is recorded."""
        if run is None:
            (run,) = self.running()
        job = self.catalog.assessed_rows.job(run.job_id) or self._jobs[run.job_id]
        ending = Ending(
            run=run, job=job, state=state,
            fence=InstanceFence(instance_id="here", epoch=self.term.fence.epoch),
            started_at=self.now, finished_at=self.now, duration_s=0.0,
        )  # fmt: skip
        self._record(conclude(ending, new_id=lambda: f"run-{next(self._numbers)}"))
        return run

    def _record(self, outcome: Outcome) -> None:
        self.term.ended(outcome.run.run_id)
        self.ended[outcome.run.run_id] = outcome.state
        self.history.append(replace(outcome.run, state=outcome.state))
        if outcome.retry is not None:
            self.history.append(outcome.retry)
            self._locks[outcome.run.due_time] = outcome.retry
        if outcome.run.job_id in self.states:  # outcomes leave the columns of claims as they are
            known = self.states[outcome.run.job_id]
            self.states[outcome.run.job_id] = with_outcome(known, outcome)
        if outcome.watermark is not None:
            self._move(outcome.run.job_id, outcome.watermark.old, outcome.watermark.new)
        self.term.recorded([outcome], self.now)

    # ---- the database -----------------------------------------------------------------------------

    def watermark(self, job_id: str = "job") -> datetime | None:
        return self.stored.get(job_id, self.catalog.assessed_rows[job_id].row.last_data_time)

    def set_watermark(self, value: datetime | None, job_id: str = "job", *, look: bool = True) -> None:
        """Somebody sets it by SQL."""
        self.stored[job_id] = value
        if value is not None:
            self.jumps.add(value)
        self.edit(job_id, look=look, last_data_time=value)

    def reread(self, job_id: str = "job") -> None:
        """The reconciler reads a row that the leader itself has moved."""
        self.edit(job_id, last_data_time=self.watermark(job_id))

    def _move(self, job_id: str, old: datetime | None, new: datetime) -> None:
        if job_id in self.catalog.assessed_rows and self.watermark(job_id) == old:
            self.stored[job_id] = new
        elif job_id in self.catalog.assessed_rows or self.states[job_id].data_through != old:
            return
        if job_id in self.states:
            self.states[job_id] = replace(self.states[job_id], data_through=new)

    def _store(self, states: Iterable[JobState]) -> None:
        """What claims write; the copy of the watermark is not among it."""
        for state in states:
            known = self.states.get(state.job_id)
            kept = None if known is None else known.data_through
            self.states[state.job_id] = replace(state, data_through=kept)

    def _state(self, run: Run) -> RunState:
        return next(known.state for known in reversed(self.history) if known.run_id == run.run_id)

    def running(self) -> list[Run]:
        return list(self.term.progress.running.values())

    def waiting(self) -> list[Run]:
        return list(self.term.progress.waiting.values())

    def started(self, job_id: str = "job") -> list[datetime]:
        """The due times that came to run, in the order in which they did."""
        return [
            run.scheduled_time
            for run in self.history
            if run.job_id == job_id and run.state is RunState.RUNNING
        ]

    def recorded(self, job_id: str = "job") -> list[tuple[str, datetime, datetime, int]]:
        """What was passed over."""
        return [
            (item.state.value, item.first, item.through, item.count)
            for item in self.passed_over
            if item.job_id == job_id
        ]

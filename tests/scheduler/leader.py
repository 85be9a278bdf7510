"""A term without a database: what it drafts is claimed as it is, unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from itertools import count

from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.core.registry import JobRegistry
from piko.core.types import RunState, TriggerType
from piko.decisions.claim_plan import ClaimPlan
from piko.decisions.placement import Here
from piko.model.fences import Fence
from piko.model.runs import Outcome, Run
from piko.model.schedules import ScheduleRow
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove
from piko.observability.metrics import Metrics
from piko.scheduler.term import Term
from tests.scheduler.making import NOON, assessed, definition, seconds
from tests.store.making import with_outcome


class Leader:
    """Drives a `Term` as the dispatcher does, and keeps the rows' versions as a database would."""

    def __init__(
        self,
        *rows: ScheduleRow,
        stateful: Collection[str] = (),
        registered: Collection[str] | None = None,
        states: dict[str, JobState] | None = None,
        places: int = 100,
        now: datetime = NOON,
    ) -> None:
        self.catalog = Catalog(loaded=True)
        self.metrics = Metrics()
        self.registered = registered
        self.stateful = stateful
        ids = count(1)
        self.term = Term(
            catalog=self.catalog,
            configs=ConfigBook(registry=JobRegistry()),
            states={} if states is None else states,
            fence=Fence(name="test", epoch=1),
            placement=Here(instance_id="here"),
            metrics=self.metrics,
            new_id=lambda: f"run-{next(ids)}",
            max_concurrent_runs=places,
        )
        self.written: list[JobState] = []
        self.gone: list[str] = []
        self.drafts: list[ClaimPlan] = []
        self.stored: dict[str, JobState] = {}
        """As the database has them after the outcomes that were recorded."""
        for row in rows:
            self.learn(row)
        self.adopt({*self.catalog.assessed_rows, *self.term.states}, now)

    @property
    def plan(self) -> ClaimPlan:
        """What the last tick drafted."""
        return self.drafts[-1]

    def state(self, job_id: str = "job") -> JobState:
        return self.term.states[job_id]

    def learn(self, row: ScheduleRow) -> None:
        """The reconciler has understood this row, in the moment in which it was edited."""
        registered = self.registered is None or row.job_id in self.registered
        jobs = [definition(row.job_id, stateful=row.job_id in self.stateful)] if registered else []
        self.catalog.assessed_rows[row.job_id] = replace(assessed(row, *jobs), seen_at=row.updated_at)

    def edit(self, row: ScheduleRow, now: datetime) -> None:
        self.learn(row)
        self.adopt({row.job_id}, now)

    def delete(self, job_id: str, now: datetime) -> None:
        del self.catalog.assessed_rows[job_id]
        self.adopt({job_id}, now)

    def adopt(self, job_ids: Collection[str], now: datetime) -> None:
        adopted = self.term.adopt(job_ids, now)
        self.written, self.gone = list(adopted.states), list(adopted.gone)

    def tick(self, now: datetime, *, lost: Collection[str] = ()) -> list[Run]:
        """Claim what is due, then start what waits; the runs that start. Claims of `lost` are refused."""
        plan = self.term.due(now)
        self.drafts.append(plan)
        won = {run.run_id: run for run in plan.runs if run.job_id not in lost}
        for superseded in plan.superseded:
            self.end(superseded, RunState.SKIPPED, now)
        starting = self.term.claimed(plan, won, now)
        waiting = self.term.startable(now)
        return starting + self.term.started(waiting, {run.run_id for run in waiting}, now)

    def end(
        self,
        run: Run,
        state: RunState = RunState.SUCCESS,
        now: datetime | None = None,
        *,
        retry_after: float | None = None,
    ) -> Run | None:
        """`run` has ended and its outcome is recorded; the retry, where there is one."""
        now = run.scheduled_time if now is None else now
        retry = None
        if retry_after is not None:
            retry = replace(
                run,
                run_id=f"{run.run_id}-again",
                state=RunState.QUEUED,
                attempt=run.attempt + 1,
                trigger_type=TriggerType.RETRY,
                not_before=now + seconds(retry_after),
            )
        move = None
        if run.window is not None and state is RunState.SUCCESS:
            move = WatermarkMove(job_id=run.job_id, old=run.window.start, new=run.window.end)
        outcome = Outcome(
            run=run, state=state, started_at=now, finished_at=now, duration_s=0.0, watermark=move, retry=retry
        )
        self.term.ended(run.run_id)
        self.term.recorded([outcome], now)
        if job_state := self.term.states.get(run.job_id):
            self.stored[run.job_id] = with_outcome(job_state, outcome)
        return retry

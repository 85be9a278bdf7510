"""A leader over a model of the database, in the words of the tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.configs import ConfigBook
from piko.catalog.jobs import assess
from piko.core.registry import JobDefinition
from piko.core.types import RunState, TriggerType
from piko.decisions import effects
from piko.decisions.open_runs import OpenRuns
from piko.model.claims import ClaimBatch
from piko.model.runs import Outcome, PassedOver, Run
from piko.model.schedules import ScheduleRow
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove
from piko.simulation.simulation import Simulation
from tests.scheduler.making import NOON, definition, registry, row, seconds

NOTHING = effects.Claim(
    batch=ClaimBatch(token="", runs=(), passed_over=(), states=()),
    now=NOON, reasons=(), given_up=(), replaced=(), superseded=(),
)  # fmt: skip


class Leader(Simulation):
    """Rows that are written and read at once, and what the leader does about them.

    `definitions`: the registered jobs; without them one of each row, `stateful` or not, or of `registered`
    alone. `states`: what the leader before has left in the database. `ahead`: the horizon of claims, in
    seconds.
    """

    def __init__(
        self,
        *rows: ScheduleRow,
        definitions: Iterable[JobDefinition] = (),
        stateful: Collection[str] = (),
        registered: Collection[str] | None = None,
        states: Mapping[str, JobState] | None = None,
        places: int = 1000,
        now: datetime = NOON,
        ahead: float = 0.0,
    ) -> None:
        ids = {item.job_id for item in rows} or {"job"} if registered is None else registered
        known = list(definitions) or [definition(job_id, stateful=job_id in stateful) for job_id in ids]
        self.registry = registry(*known)
        self.configs = ConfigBook(registry=self.registry)
        super().__init__(
            rows=AssessedRows(),
            configs=self.configs,
            now=now,
            max_concurrent_runs=places,
            ahead=seconds(ahead),
            observe=self._see,
        )
        self.claims: list[effects.Claim] = []
        """What each turn has claimed; `NOTHING`, where it was nothing."""
        self.messages: Mapping[str, str | None] = {}
        self.written: list[JobState] = []
        self.deleted: list[str] = []
        self.restored: list[WatermarkMove] = []
        self.missed: Counter[tuple[str, str]] = Counter()
        self.left_out: Counter[tuple[str, str]] = Counter()
        self.writes = 0
        self.ended: dict[str, RunState] = {}
        self.jumps: set[datetime] = set()
        """Where a watermark was put by somebody, or by a bound."""
        self.database.states.update(states or {})
        for item in rows:
            self.learn(item)
        self.take_over()

    def _see(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Claim():
                self.claims[-1:] = [effect]
                self.jumps.update(move.new for move in effect.batch.watermarks)
            case effects.ExplainBackfills(messages=messages):
                self.messages = messages
            case effects.WriteStates(states=states):
                self.writes += len(states)
                self.written.extend(states)
            case effects.RestoreWatermarks(moves=moves):
                self.restored.extend(moves)
            case effects.MarkDeleted(job_ids=job_ids):
                self.deleted.extend(job_ids)
            case effects.Export(missed=missed, skipped=skipped):
                self.missed.update(missed)
                self.left_out.update(skipped)
            case effects.Conclude(outcome=outcome):
                self.ended[outcome.run.run_id] = outcome.state
            case _:
                pass

    # ---- rows ---------------------------------------------------------------------------------------

    def learn(self, new: ScheduleRow) -> None:
        """The reconciler has understood this row, in the moment in which it was edited."""
        assessed = assess(new, registry=self.registry, timezone="UTC")
        self.rows[new.job_id] = replace(assessed, seen_at=new.updated_at)
        self.database.watermarks.pop(new.job_id, None)

    def write(
        self, job_id: str = "job", expression: Any = None, *, look: bool = True, **columns: Any
    ) -> None:
        """Insert or update a row, and let the leader see it."""
        known = self.rows.get(job_id)
        created_at = self.now if known is None else known.row.created_at
        times = {"created_at": created_at, "updated_at": self.now}
        self._read(row(job_id, expression, **{**times, **columns}), look=look)

    def edit(self, job_id: str = "job", *, look: bool = True, **columns: Any) -> None:
        """Change columns of a row by SQL."""
        before = self.rows[job_id].row
        self._read(replace(before, **{"updated_at": self.now, **columns}), look=look)

    def _read(self, new: ScheduleRow, *, look: bool) -> None:
        """The reconciler reads a row; a watermark that it does not know of stays in the database."""
        stored = {key: value for key, value in self.database.watermarks.items() if key == new.job_id}
        self.learn(new)
        self.database.watermarks.update(stored)
        self.changed.add(new.job_id)
        if look:
            self.look()

    def put(self, new: ScheduleRow, now: datetime) -> None:
        """Replace a row, and let the leader see it at `now`."""
        self.learn(new)
        self.take_in({new.job_id}, now)

    def take_in(self, job_ids: Collection[str], now: datetime) -> None:
        """The leader sees these rows at `now`."""
        self.now, self.written, self.deleted = now, [], []
        self.look(job_ids)

    def delete(self, job_id: str = "job", now: datetime | None = None, *, look: bool = True) -> None:
        self.now = now or self.now
        self.database.delete(job_id)
        self.changed.add(job_id)
        if look:
            self.look()

    def set_watermark(self, value: datetime | None, job_id: str = "job", *, look: bool = True) -> None:
        """Somebody sets it by SQL."""
        self.database.watermarks[job_id] = value
        if value is not None:
            self.jumps.add(value)
        self.edit(job_id, look=look, last_data_time=value)

    def reread(self, job_id: str = "job") -> None:
        """The reconciler reads a row that the leader itself has moved."""
        self.edit(job_id, last_data_time=self.watermark(job_id))

    # ---- turns --------------------------------------------------------------------------------------

    def turn(self) -> list[Run]:
        self.claims.append(NOTHING)
        self.messages = {}
        return super().turn()

    def tick(self, now: datetime, *, lost: Collection[str] = ()) -> list[Run]:
        """One turn at `now`; the runs that start. Claims of `lost` are refused."""
        self.now, self.database.lost = now, set(lost)
        return self.turn()

    @property
    def plan(self) -> effects.Claim:
        """What the last turn has claimed."""
        return self.claims[-1]

    @property
    def skipped(self) -> list[tuple[PassedOver, str]]:
        """What the last turn has passed over, each with the metrics' word for the reason."""
        return list(zip(self.plan.batch.passed_over, self.plan.reasons, strict=True))

    # ---- ends of runs -------------------------------------------------------------------------------

    def end_next(self, state: RunState = RunState.SUCCESS) -> Run:
        """The handler of the one run in progress ends so."""
        (run,) = self.running()
        self.finish(run, state)
        return run

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
        self.now = now
        self.record(
            Outcome(
                run=run, state=state, started_at=now, finished_at=now, duration_s=0.0, watermark=move,
                retry=retry,
            )
        )  # fmt: skip
        return retry

    # ---- what is ------------------------------------------------------------------------------------

    @property
    def progress(self) -> OpenRuns:
        """The live runs."""
        return self.leader.runs.live

    @property
    def earliest(self) -> datetime | None:
        """The next entry of the timetable."""
        return self.leader.agenda.timetable.earliest()

    def state(self, job_id: str = "job") -> JobState:
        """What the leader knows of a job."""
        return self.leader.agenda.states[job_id]

    def stored(self, job_id: str = "job") -> JobState:
        """What the database knows of a job."""
        return self.database.states[job_id]

    def watermark(self, job_id: str = "job") -> datetime | None:
        return self.database.watermark(job_id)

    @property
    def history(self) -> list[Run]:
        return self.database.history

    def running(self) -> list[Run]:
        """Runs in progress whose handlers have begun."""
        return [run for run in self.progress.running.values() if run.run_id not in self.upcoming]

    def waiting(self) -> list[Run]:
        return list(self.progress.waiting.values())

    def ends(self, state: str) -> list[Run]:
        """The runs that ended so."""
        return self.database.in_state(RunState(state))

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
            for item in self.database.passed_over
            if item.job_id == job_id
        ]

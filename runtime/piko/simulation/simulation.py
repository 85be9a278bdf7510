"""One leader after the other over a model of the database; see the package."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.core.types import RunState
from piko.decisions import effects, events
from piko.decisions.ends import left_out
from piko.decisions.leader import Leader
from piko.decisions.placement import Here
from piko.decisions.replica_configs import ReplicaConfigs
from piko.execution.outcome import Ending, conclude
from piko.model.fences import InstanceFence
from piko.model.runs import Outcome, Run
from piko.simulation.database import ModelDatabase

_INSTANCE = "simulation"
_MOST_TURNS = 10_000
_STEPS_ON = (effects.Claim, effects.StartQueued, effects.ClaimWindows)
"""What a further turn may follow from."""


class Simulation:
    """Rows, a leader, and a database; a handler ends when the caller says so.

    `now` stands still but for `until` and `away`, or set it. `ahead` is the horizon of claims. `observe` is
    shown each effect before it is carried out. `read_again` is given the jobs whose rows the leader is about
    to take in: a replica knows by then where runs have moved their watermarks.
    """

    def __init__(
        self,
        *,
        rows: AssessedRows,
        configs: ReplicaConfigs,
        now: datetime,
        max_concurrent_runs: int = 1000,
        ahead: timedelta = timedelta(0),
        observe: Callable[[effects.Effect], None] = lambda _: None,
        read_again: Callable[[Iterable[str]], None] = lambda _: None,
    ) -> None:
        self.now = now
        self.rows = rows
        self.database = ModelDatabase(rows=rows)
        self.changed: set[str] = set()
        """Jobs whose rows the leader is to take in."""
        self.doubted: set[str] = set()
        """Jobs whose rows are to be read again."""
        self.cancelled: dict[str, str] = {}
        """Runs whose handlers were asked to end, each with the reason."""
        self._configs = configs
        self._max_concurrent_runs = max_concurrent_runs
        self._observe = observe
        self._read_again = read_again
        self._numbers = itertools.count(1)
        self._jobs: dict[str, Job] = {}
        self._starting: list[Run] = []
        self.ahead = ahead
        self.upcoming: dict[str, Run] = {}
        """Runs that were claimed ahead and have not begun, by id."""
        self.suspended = False
        """Whether these may not begin, as while the database is away."""
        self.begun: list[tuple[datetime, Run]] = []
        """Each run whose handler was called, and when."""
        self._steps_on = 0
        self.leader = self._new_leader()

    # ---- terms and rows -------------------------------------------------------------------------------

    def take_over(self) -> None:
        """Another replica leads from here: it knows what was written, and nothing else.

        What the one before had claimed ahead and not begun, it can begin no more.
        """
        self.leader = self._new_leader()
        unbegun, self.upcoming = list(self.upcoming.values()), {}
        began = events.TermBegan(
            states=self.database.states,
            in_progress=self.database.in_state(RunState.RUNNING),
            queued=self.database.in_state(RunState.QUEUED),
            backfills=list(self.database.backfills.values()),
            now=self.now,
        )
        self.feed(began)
        self.look({*self.rows, *self.database.states})
        if unbegun:
            self.feed(events.UnknownRunsFound(runs=(), lost=(), unbegun=unbegun, now=self.now))

    def look(self, job_ids: Iterable[str] = ()) -> None:
        """The leader takes in the rows of `job_ids`, and those that have changed."""
        changed, self.changed = sorted({*self.changed, *job_ids}), set()
        self._read_again(changed)
        self.feed(events.RowsChanged(job_ids=changed, now=self.now))

    def _new_leader(self) -> Leader:
        return Leader(
            rows=self.rows,
            configs=self._configs,
            placement=Here(instance_id=_INSTANCE),
            new_id=self.new_id,
            max_concurrent_runs=self._max_concurrent_runs,
        )

    def new_id(self) -> str:
        return f"run-{next(self._numbers)}"

    # ---- time -----------------------------------------------------------------------------------------

    def turn(self) -> list[Run]:
        """One turn of the leader's loop; the runs whose handlers begin."""
        self._starting = []
        if not self.suspended:
            self._begin_upcoming()
        late = [run.run_id for run in self.upcoming.values() if not run.starts_after(self.now)]
        for stage in self.leader.stages:
            self.feed(events.Tick(stage=stage, now=self.now, ahead=self.ahead, late=late))
        return self._starting

    def work(self) -> None:
        """One turn after the other, until nothing more is to be done now."""
        for _ in range(_MOST_TURNS):
            if self.changed:
                self.look()
            before = self._steps_on
            self.turn()
            if self._steps_on == before:
                return
        raise AssertionError("the leader finds no end")

    def until(self, moment: datetime) -> None:
        """Let time pass; whatever comes due is claimed and started at its own moment."""
        for _ in range(_MOST_TURNS):
            self.work()
            following = self.next_moment()
            if following is None or following > moment:
                self.now = max(self.now, moment)
                return
            if following <= self.now:
                raise AssertionError("the leader would never rest")
            self.now = following
        raise AssertionError("the leader finds no end")

    def next_moment(self) -> datetime | None:
        """When there is something to do next; None: nothing comes by itself."""
        moments = [] if self.suspended else [run.starts_at for run in self.upcoming.values()]
        moments.append(self.leader.next_moment(self.now, ahead=self.ahead))
        return min((moment for moment in moments if moment is not None), default=None)

    def away(self, duration: timedelta) -> None:
        """Nobody leads for a while."""
        self.now += duration
        self.take_over()

    def _begin(self, runs: Iterable[Run]) -> None:
        for run in runs:
            self._starting.append(run)
            self.begun.append((self.now, run))

    def _begin_upcoming(self) -> None:
        """The handlers of what was claimed ahead begin, each at its time."""
        come = [run for run in self.upcoming.values() if not run.starts_after(self.now)]
        for run in sorted(come, key=lambda item: item.starts_at or self.now):
            del self.upcoming[run.run_id]
            skip = self.leader.begins(run, self._jobs[run.run_id], self.now)
            if skip is None:
                self._begin([run])
            else:
                self.record(left_out(run, self.now, why=skip.why))

    # ---- the ends of runs -----------------------------------------------------------------------------

    def job_of(self, run: Run) -> Job:
        """The job of a run that has started, as its row declared it then."""
        return self._jobs[run.run_id]

    def finish(self, run: Run, state: RunState = RunState.SUCCESS) -> Outcome:
        """The handler of `run` ends so, and it is recorded."""
        ending = Ending(
            run=run,
            job=self._jobs[run.run_id],
            state=state,
            fence=InstanceFence(instance_id=_INSTANCE, epoch=1),
            started_at=self.now,
            finished_at=self.now,
            duration_s=0.0,
        )
        outcome = conclude(ending, new_id=self.new_id)
        self.record(outcome)
        return outcome

    def record(self, outcome: Outcome) -> None:
        """A handler has ended with this outcome, and it is recorded."""
        self.feed(events.RunEnded(run=outcome.run))
        self._record(outcome)

    def _record(self, outcome: Outcome) -> None:
        self.database.record(outcome)
        self.feed(events.Recorded(outcomes=[outcome], now=self.now))

    # ---- events and effects ---------------------------------------------------------------------------

    def feed(self, event: events.Event) -> None:
        """Step with `event`, carry the effects out, and step with each answer in its turn."""
        for effect in self.leader.step(event):
            self._observe(effect)
            self._carry_out(effect)

    def _carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Start(runs=runs):
                self._jobs.update({run.run_id: job for run, job in runs})
                self.upcoming.update({run.run_id: run for run, _ in runs if run.starts_at is not None})
                self._begin([run for run, _ in runs if run.starts_at is None])
            case effects.Withdraw(withdrawals=withdrawals):
                ids = {item.run.run_id for item in withdrawals if not item.queued}
                begun = {run_id for run_id in ids if self.upcoming.pop(run_id, None) is None}
                self.feed(self.database.withdraw(effect, begun=begun, now=self.now))
            case effects.Cancel(run_id=run_id, reason=reason):
                self.cancelled[run_id] = reason
            case effects.Conclude(outcome=outcome):
                self._steps_on += 1
                self._record(outcome)
            case effects.TakeInAgain(job_ids=job_ids):
                self.changed |= set(job_ids)
            case effects.ReadAgain(job_ids=job_ids):
                self.doubted |= set(job_ids)
            case effects.Export() | effects.Log():
                pass
            case _:
                self._steps_on += isinstance(
                    effect, effects.Claim | effects.StartQueued | effects.ClaimWindows
                )
                if (answer := self.database.carry_out(effect, self.now)) is not None:
                    self.feed(answer)

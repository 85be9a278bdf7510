"""The leader: what one replica decides while it leads, as a state machine without input or output.

Events go in, effects come out, and nothing in here waits, reads a clock or writes anything:

    effects = leader.step(event)

Somebody else carries the effects out, in order, and steps with the answers: `piko.scheduler` against a
database, `piko.simulation` against a model of one. What the database wrote is an event like any other, so
nothing counts before it is written, and a decision that was refused is simply not followed by its answer.

A term of leadership is one `Leader`:

    TermBegan          what the database holds                    (once)
    RowsChanged        -> ReadStates, Withdraw, RestoreWatermarks, WriteStates, MarkDeleted, CopyWatermarks
    Tick(stage=...)    -> Claim, StartQueued, ClaimWindows, ExplainBackfills      (each stage of each turn)
    Claimed ...        -> Start, Cancel, Conclude                 (the answers to these)
    Withdrawn          -> what RowsChanged does                   (a claim that was made ahead is taken back)
    RunEnded, Recorded                                            (whenever a run ends)
    QueueRead, RemoteRunsRead, UnknownRunsFound -> Conclude, ReadQueue, Requeue   (now and then)
    RowsRefused, RowsAccepted                                     (where the database says no, and yes again)

A run of a due time lives through these events; each arrow is one step:

    due --Claim--> RUNNING --Start--> handler --RunEnded--> ending --Recorded--> left
     `---Claim--> QUEUED --StartQueued--> RUNNING ...        Recorded with a retry --> QUEUED
    due soon --Claim--> RUNNING with starts_at --Start--> handler at its time ...
                          `--Withdraw--> CANCELLED, due again      `--Requeue--> QUEUED (its instance died)
                  QUEUED --(too late, superseded)--Conclude--> ending ...

Rows and configs are read through the mappings that the leader is given: they are what this replica knows at
the moment of the step, and change between steps alone. `new_id` gives ids for runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.decisions import events
from piko.decisions.agenda import Agenda
from piko.decisions.backfill_work import BackfillWork
from piko.decisions.claims_ahead import ClaimsAhead
from piko.decisions.due_work import DueWork
from piko.decisions.effects import Effect, Level
from piko.decisions.events import Event
from piko.decisions.intake import Intake
from piko.decisions.outbox import Outbox
from piko.decisions.placement import Placement
from piko.decisions.readings import Readings
from piko.decisions.refusals import JOB_STATE
from piko.decisions.replica_configs import ReplicaConfigs
from piko.decisions.run_orders import RunOrders
from piko.decisions.runs import Runs
from piko.decisions.skips import Skip, Skips
from piko.decisions.slots import SlotTable
from piko.decisions.work import Stage, WorkSource
from piko.model.runs import Run

_PUNCTUAL = timedelta(milliseconds=50)
"""A run that begins so soon after its time is not looked at again: most do, and nothing is due so soon."""


class Leader:
    """The decisions of one term. `max_concurrent_runs` bounds the live runs that start."""

    def __init__(
        self,
        *,
        rows: AssessedRows,
        configs: ReplicaConfigs,
        placement: Placement,
        new_id: Callable[[], str],
        max_concurrent_runs: int,
    ) -> None:
        self.runs = Runs()
        self._outbox = outbox = Outbox()
        self.agenda = Agenda(rows=rows, configs=configs, progress=self.runs.live, outbox=outbox)
        orders = RunOrders(rows=rows, runs=self.runs, outbox=outbox, new_id=new_id)
        slots = SlotTable(rows=rows, runs=self.runs, total=max_concurrent_runs)
        self._ahead = ahead = ClaimsAhead()
        self._skips = Skips(rows=rows, progress=self.runs.live, orders=orders, outbox=outbox)
        self._rows = rows
        self._intake = Intake(
            rows=rows, agenda=self.agenda, progress=self.runs.live, ahead=ahead, slots=slots, outbox=outbox
        )
        self._due = DueWork(
            rows=rows,
            agenda=self.agenda,
            progress=self.runs.live,
            ahead=ahead,
            skips=self._skips,
            slots=slots,
            placement=placement,
            orders=orders,
            outbox=outbox,
            new_id=new_id,
        )
        self._backfills = BackfillWork(
            rows=rows,
            agenda=self.agenda,
            progress=self.runs.backfills,
            slots=slots,
            placement=placement,
            orders=orders,
            outbox=outbox,
            new_id=new_id,
        )
        self._sources: Sequence[WorkSource] = (self._due, self._backfills)
        self._stages: Sequence[Stage] = [stage for source in self._sources for stage in source.stages]
        self._readings = Readings(
            runs=self.runs, due=self._due, backfills=self._backfills, orders=orders, outbox=outbox
        )
        self._handlers = self._handlers_by_event()

    def _handlers_by_event(self) -> Mapping[type[Event], Callable[[Any], None]]:
        intake, readings = self._intake, self._readings
        return {
            events.TermBegan: self._begin,
            events.RowsChanged: intake.rows_changed,
            events.StatesRead: intake.states_read,
            events.WatermarksRestored: intake.restored,
            events.StatesWritten: intake.states_written,
            events.Tick: self._tick,
            events.Claimed: self._due.claimed,
            events.Withdrawn: intake.withdrawn,
            events.Requeued: self._due.requeued,
            events.QueuedStarted: self._started,
            events.WindowsClaimed: self._backfills.claimed,
            events.BackfillsExplained: self._backfills.explained,
            events.RunEnded: self._ended,
            events.Recorded: self._recorded,
            events.QueueRead: readings.queue_read,
            events.RemoteRunsRead: readings.remote_runs_read,
            events.UnknownRunsFound: readings.unknown_runs_found,
            events.NotRunningHere: readings.not_running_here,
            events.RowsRefused: self._refused,
            events.RowsAccepted: self._accepted,
        }

    def step(self, event: Event) -> Sequence[Effect]:
        """What follows from `event`, to be carried out in order."""
        self._handlers[type(event)](event)
        return self._outbox.take()

    # ---- what the loop asks ---------------------------------------------------------------------------

    @property
    def stages(self) -> range:
        """The stages of a turn, each for a `Tick` of its own.

        What one may claim or start depends on what the database wrote for the one before.
        """
        return range(len(self._stages))

    def next_moment(self, now: datetime, *, ahead: timedelta = timedelta(0)) -> datetime | None:
        """When the next turn is needed with the horizon `ahead`, if no event comes before."""
        moments = (
            self.agenda.timetable.earliest(ahead),
            *(source.progress.next_start(now) for source in self._sources),
        )
        return min((moment for moment in moments if moment is not None), default=None)

    def begins(self, run: Run, job: Job, now: datetime) -> Skip | None:
        """`run`, which was claimed ahead, may begin now: why it is left out; None: it starts."""
        skip = self._skips.of(run, job, now)
        if skip is None and run.starts_at is not None and now - run.starts_at > _PUNCTUAL:
            self.agenda.backlogs.note_late(run, job, now)
        return skip

    def awaits_remote_end(self, *, without: set[str]) -> bool:
        """Whether something waits for the end of a run on another replica, but for the runs of `without`."""
        return self._due.awaits_end(without=without)

    # ---- events that concern more than one part ---------------------------------------------------------

    def _begin(self, event: events.TermBegan) -> None:
        self.agenda.states.update(event.states)
        for run in event.in_progress:  # of this replica too: it may have taken them under another leader
            self.runs.of(run).hold([run])
        for source in self._sources:
            source.progress.enqueue(run for run in event.queued if self.runs.of(run) is source.progress)
        self._ahead.inherit([*event.in_progress, *event.queued], event.states, self._rows, event.now)
        self._backfills.observe(event.backfills)

    def _tick(self, event: events.Tick) -> None:
        for run_id in event.late:
            run = self.runs.live.running.get(run_id)
            job = None if run is None else self._rows.scheduled(run.job_id)
            if run is not None and job is not None:
                self.agenda.backlogs.note_late(run, job, event.now)
        self._stages[event.stage](event)

    def _ended(self, event: events.RunEnded) -> None:
        self.runs.of(event.run).end(event.run.run_id)
        job = self._rows.scheduled(event.run.job_id)
        if job is not None and not job.definition.stateful and not job.schedule.fires_once:
            self.agenda.timetable.may_be_early(job.job_id)  # further due times can be claimed ahead

    def _started(self, event: events.QueuedStarted) -> None:
        for source in self._sources:
            runs = [run for run in event.runs if self.runs.of(run) is source.progress]
            source.started(runs, event.won, event.now)

    def _recorded(self, event: events.Recorded) -> None:
        for source in self._sources:
            mine = [item for item in event.outcomes if self.runs.of(item.run) is source.progress]
            source.recorded(mine, event.now)

    def _refused(self, event: events.RowsRefused) -> None:
        for job_id, why in event.why.items():
            refusal = self.agenda.refusals.note(job_id, event.what, why, event.now)
            self._outbox.series.refused(event.what)
            self._outbox.log(
                Level.ERROR,
                "database_refuses",
                job_id=job_id,
                what=event.what,
                why=why,
                times=refusal.times,
                again_at=refusal.until.isoformat(),
            )
            if event.what != JOB_STATE:  # there it cannot be written either
                self.agenda.reconsider(job_id, event.now)

    def _accepted(self, event: events.RowsAccepted) -> None:
        for job_id in self.agenda.refusals.accepted(event.job_ids, event.what):
            self._outbox.log(Level.INFO, "database_takes_it_again", job_id=job_id, what=event.what)
            self.agenda.reconsider(job_id, event.now)

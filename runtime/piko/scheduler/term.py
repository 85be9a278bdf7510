"""One term of leadership: what this leader knows of the jobs, and the decisions it takes.

Nothing in here awaits: a term is the functional core of the dispatcher. It is asked what is due, is told
what was claimed, started and recorded, and answers with batches to write and runs to start.

**Stateless jobs** have a cursor: instants up to it are dealt with. A schedule that is new, changed, repaired
or enabled again begins at the edit, so nothing is fired for instants before it (`beginning`).

**Stateful jobs** have a watermark, and their cursor only says which instant woke them last. At an instant the
missing windows run one after the other, each as soon as the one before has succeeded. A window that failed is
tried again by its retry, or else at the schedule's next instant. So is what went missing while the job was
disabled: enabling runs nothing by itself; the next instant does, and then `CATCH_UP` makes up for the data.

**A job that lacks its config** waits: nothing of it is claimed and its cursor stays, so that what came due
meanwhile is judged by the rules of every delay once the config is there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.catalog.jobs import AssessedRow, Job
from piko.core.types import DataInterval, JobStatus, OverlapPolicy, RunState, TriggerType
from piko.decisions.beginning import Beginning, beginning
from piko.decisions.claim_plan import ClaimPlan
from piko.decisions.due import decide
from piko.decisions.due_window import decide_window
from piko.decisions.failed_windows import FailedWindows
from piko.decisions.given_up import answered, given_up, noted
from piko.decisions.notes import standing
from piko.decisions.placement import Placement
from piko.decisions.progress import Progress
from piko.decisions.refusals import Refusals
from piko.decisions.slots import Slots, SlotTable
from piko.decisions.timetable import Timetable
from piko.decisions.turns import Backlogs
from piko.decisions.watermarks import Watermarks
from piko.model.fences import Fence
from piko.model.runs import Outcome, Run
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove
from piko.observability.metrics import Metrics
from piko.schedule import start_offset, why_silent
from piko.scheduler.adoption import Adopted
from piko.scheduler.telling import Telling

_JOBS_AT_ONCE = 500
"""Jobs in one batch of claims: large enough for the database, small enough for the event loop."""
_RUNS_AT_ONCE = 1000
"""Where jobs have many instants due, a batch takes no further job beyond so many runs."""


class Term:
    """The leader's account of the jobs under one fence."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        configs: ConfigBook,
        states: dict[str, JobState],
        fence: Fence,
        placement: Placement,
        metrics: Metrics,
        new_id: Callable[[], str],
        max_concurrent_runs: int,
    ) -> None:
        self.fence = fence
        self.states = states
        self.timetable = Timetable()
        self.progress = Progress()
        self.refusals = Refusals()
        self.beside: Mapping[str, Run] = {}
        """Runs of backfills in progress: they count for concurrency groups, and for nothing else here."""
        self._catalog = catalog
        self._configs = configs
        self._placement = placement
        self._metrics = metrics
        self.telling = Telling(metrics)
        self._new_id = new_id
        self._slot_table = SlotTable(rows=catalog.assessed_rows, total=max_concurrent_runs)
        self._watermarks = Watermarks()
        self._failed = FailedWindows()
        self._unwritten: set[str] = set()
        self._elsewhere: set[str] = set()
        self._without_config: set[str] = set()
        self._backlogs = Backlogs()
        self._unseen: dict[str, Beginning] = {}
        """Jobs with instants that came due before their row was seen, until that is recorded."""

    # ---- rows -------------------------------------------------------------------------------------

    def unmet(self, job_ids: Iterable[str]) -> list[str]:
        """Those of `job_ids` with a row that the state here does not speak of: it has to be read first."""
        assessed_rows = ((job_id, self._catalog.assessed_rows.get(job_id)) for job_id in job_ids)
        return [
            job_id
            for job_id, assessed in assessed_rows
            if assessed is not None
            and (
                (state := self.states.get(job_id)) is None or state.row_created_at != assessed.row.created_at
            )
        ]

    def meet(self, job_ids: Iterable[str], states: Mapping[str, JobState]) -> None:
        """What the database says of `job_ids`; a job that is not in `states` begins afresh."""
        for job_id in job_ids:
            self.states.pop(job_id, None)
        self.states.update(states)

    def adopt(self, job_ids: Iterable[str], now: datetime) -> Adopted:
        """Take over what the catalog says of `job_ids`, which are no longer `unmet`."""
        write, gone, resumed = [], [], []
        self._backlogs.begin(now)
        for job_id in job_ids:
            assessed = self._catalog.assessed_rows.get(job_id)
            if assessed is None:
                self._drop(job_id)
                state = self.states.pop(job_id, None)
                if state is not None and state.row_gone_at is None:
                    gone.append(job_id)
                continue
            old = self.states.get(job_id)
            self.states[job_id] = new = self._judge(assessed, old or JobState(job_id=job_id), now)
            if old is not None and old.is_of_another_row(assessed.row.created_at) and _goes_on(old, new):
                resumed.append(job_id)
            if new != old or job_id in self._unwritten:
                write.append(new)
            self._unwritten.discard(job_id)
        self._slot_table.rows_changed()
        restore, self._watermarks.to_restore = self._watermarks.to_restore, []
        copy, self._watermarks.to_copy = self._watermarks.to_copy, set()
        return Adopted(states=write, gone=gone, resumed=resumed, restore=restore, copy=copy)

    def restored(self, moves: Iterable[WatermarkMove], found: Mapping[str, datetime | None]) -> set[str]:
        """The rows hold `found` after `moves`; the jobs that wait, because their rows could not be had."""
        waits = set()
        for move in moves:
            if found.get(move.job_id) != move.new:  # somebody else writes the row: what it says then counts
                self._watermarks.doubt(move.job_id)
                self._catalog.doubted.add(move.job_id)
            if move.job_id not in found:
                self._watermarks.forget(move.job_id)
                self.timetable.put(move.job_id, None)
                self.states.pop(move.job_id, None)
                waits.add(move.job_id)
        return waits

    def _drop(self, job_id: str) -> None:
        self._watermarks.forget(job_id)
        self._failed.forget(job_id)
        self._unwritten.discard(job_id)
        self._without_config.discard(job_id)
        self._backlogs.forget(job_id)
        self._unseen.pop(job_id, None)
        self.refusals.forget(job_id)
        self.timetable.put(job_id, None)
        self.telling.forget(job_id)

    def _judge(self, assessed: AssessedRow, state: JobState, now: datetime) -> JobState:
        row, job = assessed.row, assessed.job
        first_seen = not self._watermarks.knows(row.job_id) or state.is_of_another_row(row.created_at)
        foreign = self._watermarks.adopt(row, state)
        if self._watermarks.is_behind(row):
            self._catalog.doubted.add(row.job_id)
        if first_seen:
            self.telling.known(state)
        if job is not None and job.definition.stateful:
            self.telling.done_up_to(job.job_id, self.watermark(job))
        new = replace(
            state,
            status=assessed.status.value,
            message=assessed.message,
            observed_version=row.version,
            next_run_at=None,
            row_created_at=row.created_at,
            row_gone_at=None,
        )
        moved = state.observed_version != row.version and not state.is_of_another_row(row.created_at)
        if foreign or moved:
            new = answered(new)
        if job is None or assessed.status is not JobStatus.SCHEDULED:
            self._without_config.discard(row.job_id)
            self.timetable.put(row.job_id, None)
            self.telling.due(row.job_id, None)
            # Code that comes back goes on where it was; an enabled or repaired row begins anew.
            keeps_cursor = assessed.status is JobStatus.UNREGISTERED and row.enabled
            return new if keeps_cursor else replace(new, schedule_hash=None)
        new = self._go_on(job, assessed, new, now, first_seen=first_seen)
        if foreign and job.definition.stateful:
            self._failed.forget(row.job_id)
            new = replace(new, cursor_at=row.last_data_time or new.cursor_at)
        new = self._reschedule(job, new, now)
        if row.job_id in self._unseen:
            self.timetable.put(row.job_id, now)  # to record what is not fired
        return new

    def _go_on(
        self, job: Job, assessed: AssessedRow, state: JobState, now: datetime, *, first_seen: bool
    ) -> JobState:
        """`state` with the cursor of the schedule: the one it had, or a new one."""
        if state.schedule_hash == job.schedule.fingerprint and state.cursor_at is not None:
            if first_seen:
                self._failed.note_as_left(job, state, watermark=self.watermark(job), now=now)
            return state
        self._failed.forget(job.job_id)
        begin = beginning(job, assessed, cursor=state.cursor_at, now=now)
        if begin.unseen is not None:
            self._unseen[job.job_id] = begin
        return replace(state, schedule_hash=job.schedule.fingerprint, cursor_at=begin.cursor)

    def _reschedule(
        self, job: Job, state: JobState, now: datetime, *, cursor: datetime | None = None
    ) -> JobState:
        """Enter the job's next instant, after its `cursor` or a new one, into the timetable and its state."""
        self._without_config.discard(job.job_id)
        cursor = cursor or state.cursor_at
        assert cursor is not None
        following = self._following(job, cursor)
        if following is None:
            self.timetable.put(job.job_id, None)
            self.telling.due(job.job_id, None)
            silent = why_silent(job.schedule, after=cursor) or "the schedule has no further instant"
            done = JobStatus.COMPLETED.value
            return replace(state, cursor_at=cursor, next_run_at=None, status=done, message=silent)
        refusal = self.refusals.held(job.job_id, now)
        if refusal is not None:
            self.timetable.put(job.job_id, refusal.until)
            invalid = JobStatus.INVALID.value
            return replace(state, cursor_at=cursor, next_run_at=None, status=invalid, message=refusal.message)
        lacking = self.lacks_config(job, now)
        if lacking is not None:
            self._without_config.add(job.job_id)
            self.timetable.put(job.job_id, None)
            self.telling.due(job.job_id, None)
            waiting = JobStatus.WAITING_FOR_CONFIG.value
            return replace(state, cursor_at=cursor, next_run_at=None, status=waiting, message=lacking)
        if job.definition.stateful and self.progress.busy(job.job_id):
            self.timetable.put(job.job_id, None)  # looked at again when its run is recorded
        else:
            offset = start_offset(job_id=job.job_id, scheduled_time=following, jitter_s=job.row.jitter_s)
            self.timetable.put(job.job_id, following + offset)
        self.telling.due(job.job_id, following)
        scheduled = JobStatus.SCHEDULED.value
        new = replace(state, cursor_at=cursor, next_run_at=following, status=scheduled)
        return replace(new, message=self._standing(job, new))

    def _following(self, job: Job, cursor: datetime) -> datetime | None:
        watermark = self.watermark(job)
        if not job.definition.stateful or watermark is None:
            return job.schedule.next_after(cursor)
        self.telling.done_up_to(job.job_id, watermark)
        return self._failed.put_off(job.job_id, job.schedule.next_after(max(watermark, cursor)))

    def watermark(self, job: Job) -> datetime | None:
        return self._watermarks.of(job.row)

    # ---- due --------------------------------------------------------------------------------------

    def due(self, now: datetime) -> ClaimPlan:
        """What to claim now, up to a good number of jobs. Nothing of it counts before it is `claimed`."""
        self._look_for_configs(now)
        due = self.timetable.take_due(now, most=_JOBS_AT_ONCE, priority=self._priority)
        plan = ClaimPlan(new_id=self._new_id, placement=self._placement, now=now)
        slots = self._slots()
        for run in self.startable(now):  # what waits already goes first where places are short
            slots.take(self._catalog.assessed_rows.job(run.job_id))
        for job_id in due:
            if len(plan.runs) >= _RUNS_AT_ONCE:
                self.timetable.put(job_id, now)
                continue
            job, state = self._catalog.assessed_rows.scheduled(job_id), self.states.get(job_id)
            if job is None or state is None or state.cursor_at is None:
                continue
            if state.schedule_hash != job.schedule.fingerprint:
                continue  # the row was edited just now: the cursor belongs to the schedule before
            if self.lacks_config(job, now) is not None:
                self._note(job.job_id, self._reschedule(job, state, now))
                continue
            if job.definition.stateful:
                self._add_window(plan, job, state, slots, now)
            else:
                self._add_instants(plan, job, state, slots, now)
        return plan

    def _standing(self, job: Job, state: JobState) -> str | None:
        return standing(job, state, config=self._configs.note(job.job_id))

    def _priority(self, job_id: str) -> int:
        job = self._catalog.assessed_rows.scheduled(job_id)
        return 0 if job is None else job.row.priority

    def _look_for_configs(self, now: datetime) -> None:
        """Jobs whose config has come, or has taken effect, fire again."""
        for job_id in list(self._without_config):
            job, state = self._catalog.assessed_rows.scheduled(job_id), self.states.get(job_id)
            if job is not None and state is not None and self.lacks_config(job, now) is None:
                self._note(job_id, self._reschedule(job, state, now))

    def lacks_config(self, job: Job, now: datetime) -> str | None:
        """Why a run of `job` cannot start now, where what it lacks is a config."""
        return self._configs.missing(job.definition, now)

    def holds_back(self, job: Job, now: datetime) -> str | None:
        """Why nothing of `job` can start now, whatever place there is."""
        refusal = self.refusals.held(job.job_id, now)
        return self.lacks_config(job, now) if refusal is None else refusal.message

    def _add_instants(self, plan: ClaimPlan, job: Job, state: JobState, slots: Slots, now: datetime) -> None:
        assert state.cursor_at is not None
        due = decide(job, cursor=state.cursor_at, now=now)
        if (begin := self._unseen.get(job.job_id)) is not None:
            plan.pass_over(job, begin.state, begin.unseen, "unseen")
            plan.states[job.job_id] = self._reschedule(job, state, now)
            if job.schedule.fires_once and due.through is None:
                plan.completed.add(job.job_id)
        if due.through is None:
            self._reschedule(job, state, now)
            return
        turn = self._backlogs.take_turn(
            job,
            due,
            now=now,
            running=self.progress.running_of(job.job_id),
            waiting=self.progress.due_waiting_of(job.job_id),
            slots=slots,
        )
        if turn.through is not None:
            plan.add_turn(job, due, turn.admission)
            plan.states[job.job_id] = self._reschedule(job, state, now, cursor=turn.through)
            if job.schedule.fires_once:
                plan.completed.add(job.job_id)

    def _add_window(self, plan: ClaimPlan, job: Job, state: JobState, slots: Slots, now: datetime) -> None:
        if self.progress.busy(job.job_id):
            return
        watermark = self.watermark(job)
        due = decide_window(job, watermark=watermark, now=now)
        for bound, span in due.given_up:
            item = given_up(job, bound, span)
            plan.give_up(job, item, span)
            state = noted(state, item)
        plan.pass_over(job, RunState.SKIPPED, due.skipped, "policy")
        if due.window is None:
            cursor = max(state.cursor_at or now, now) if watermark is None else state.cursor_at
            plan.states[job.job_id] = self._reschedule(job, state, now, cursor=cursor)
            return
        if due.watermark is not None and due.watermark != watermark:
            plan.watermarks.append(WatermarkMove(job_id=job.job_id, old=watermark, new=due.watermark))
        waits = not slots.has_place(job)
        if not waits:
            slots.take(job)
        plan.again |= job.job_id in self._failed
        trigger = TriggerType.CATCH_UP if due.catching_up else TriggerType.SCHEDULE
        plan.add(job, due.window.end, waits=waits, window=due.window, trigger_type=trigger)
        following = job.schedule.next_after(due.window.end)
        state = replace(state, cursor_at=due.window.end, next_run_at=following)
        plan.states[job.job_id] = replace(state, message=self._standing(job, state))
        if job.schedule.fires_once:
            plan.completed.add(job.job_id)

    def put_off(self, job_ids: Iterable[str], until: datetime) -> None:
        """Nothing of these jobs could be written; they are looked at again at `until`."""
        for job_id in job_ids:
            if self._catalog.assessed_rows.scheduled(job_id) is not None:
                self.timetable.put(job_id, until)

    def unwritten(self, job_ids: Iterable[str]) -> None:
        """The states of these jobs could not be written; they are, when the jobs are adopted next."""
        self._unwritten.update(job_ids)

    def claimed(self, plan: ClaimPlan, won: Mapping[str, Run], now: datetime) -> list[Run]:
        """The batch is written: take it into the account; the runs to start."""
        self.states.update(plan.states)
        for job_id in plan.states if self._unseen else ():
            self._unseen.pop(job_id, None)
        refused = {run.job_id for run in plan.runs if run.window is not None and run.run_id not in won}
        for item, reason in plan.passed_over:
            if item.job_id not in refused:
                self._metrics.job_missed.labels(item.job_id, reason).inc(item.count)
        for move in plan.watermarks:
            if move.job_id not in refused:
                self._watermarks.move(move.job_id, move.old, move.new)
        for job_id in refused:
            # Another run holds the window, or somebody has set the watermark: the row will tell.
            self._watermarks.doubt(job_id)
            self._look_again(job_id, now, failed=True)
        return [run for run in won.values() if self._takes_up(run)]

    def _takes_up(self, run: Run) -> bool:
        """Take a claimed run into the account; whether it starts here."""
        if run.window is not None:
            self._failed.forget(run.job_id)
        if run.is_offered:
            self.held_elsewhere([run])
        elif run.state is RunState.QUEUED:
            self.progress.wait(run)
        else:
            self.progress.begin(run)
        return run.state is RunState.RUNNING

    def held_elsewhere(self, runs: Iterable[Run]) -> None:
        """Runs that are offered, or in progress on another replica, count as running.

        They do until they have ended or are given up.
        """
        for run in runs:
            self.progress.begin(run)
            self._elsewhere.add(run.run_id)

    def held_elsewhere_ids(self) -> set[str]:
        """Runs in progress whose end only the database can tell."""
        return set(self._elsewhere)

    def awaits_chain(self, *, without: Collection[str]) -> bool:
        """Whether somebody waits for the end of a run elsewhere, but for the run ids of `without`.

        The next window of a backlog does, or the next due time of its job.
        """
        waiting = {run.job_id for run in self.progress.waiting.values()}
        runs = (self.progress.find(run_id) for run_id in self._elsewhere - set(without))
        return any(
            run is not None and (run.trigger_type is TriggerType.CATCH_UP or run.job_id in waiting)
            for run in runs
        )

    def ended_elsewhere(self, ends: Mapping[str, RunState | None], now: datetime) -> None:
        """Runs that were held elsewhere have ended, as the database says; None: their rows are gone.

        Retries that came of it wait already: they are to be taken in first.
        """
        for run_id, state in ends.items():
            self._elsewhere.discard(run_id)
            run = self.progress.find(run_id)
            if run is None or self.progress.is_ending(run_id):
                continue
            self.progress.leave(run)
            job = self._catalog.assessed_rows.job(run.job_id)
            moved = job is not None and state is RunState.SUCCESS and run.follows_watermark
            if moved and job and run.window and self.watermark(job) == run.window.start:
                self._watermarks.move(run.job_id, run.window.start, run.window.end)
            failed = state not in (None, RunState.SUCCESS, RunState.SKIPPED)
            self._look_again(run.job_id, now, failed=failed and not self.progress.busy(run.job_id))

    def gone(self, run_ids: Iterable[str], now: datetime) -> None:
        """Runs that waited have ended or were deleted without this replica: by SQL, for example."""
        for run_id in run_ids:
            self._elsewhere.discard(run_id)
            run = self.progress.find(run_id)
            if run is not None and not self.progress.is_ending(run_id):
                self.progress.leave(run)
                self._look_again(run.job_id, now, failed=False)

    # ---- what waits -------------------------------------------------------------------------------

    def startable(self, now: datetime, *, without: Collection[str] = ()) -> list[Run]:
        """What waits, may start now and finds a slot, by priority; nothing of jobs of `without`.

        Runs whose row is gone are among them, so that they come to an end.
        """
        chosen: list[Run] = []
        if not self.progress.waiting:
            return chosen
        slots = self._slots()
        for run in sorted(
            self.progress.waiting.values(), key=lambda item: (-item.priority, item.scheduled_time)
        ):
            if run.job_id in without or (run.not_before is not None and run.not_before > now):
                continue
            if self.refusals.held(run.job_id, now) is not None:
                continue
            job = self._catalog.assessed_rows.job(run.job_id)
            if job is None and run.job_id in self._catalog.assessed_rows:
                continue  # its row or its code cannot be run now, and may be again
            if job is not None:
                if slots.running(job) >= _limit(job) or not slots.has_place(job):
                    continue
                if self.lacks_config(job, now) is not None:
                    continue
                slots.take(job)
            chosen.append(self._placement.place(run, now))
        return chosen

    def started(self, runs: Sequence[Run], won: set[str], now: datetime) -> list[Run]:
        """The queued runs that were still there; those to start here."""
        for run in runs:
            if run.run_id in won:
                self.progress.begin(run)
                if run.is_offered:
                    self._elsewhere.add(run.run_id)
            else:
                self.progress.leave(run)
                self._look_again(run.job_id, now, failed=False)
        return [run for run in runs if run.run_id in won and not run.is_offered]

    def _slots(self) -> Slots:
        return self._slot_table.live(running=self.progress.running.values(), beside=self.beside.values())

    def backfill_slots(self) -> Slots:
        """The places for runs of backfills."""
        return self._slot_table.beside((*self.progress.running.values(), *self.beside.values()))

    # ---- the end of runs --------------------------------------------------------------------------

    def ended(self, run_id: str) -> None:
        """The run has ended; its outcome is on its way to the database."""
        self.progress.end(run_id)

    def recorded(self, outcomes: Iterable[Outcome], now: datetime) -> None:
        """The outcomes are written: free their places, and look at what follows."""
        for outcome in outcomes:
            run, move = outcome.run, outcome.watermark
            self.progress.leave(run)
            self._elsewhere.discard(run.run_id)
            if outcome.retry is not None:
                self.progress.wait(outcome.retry)
            job = self._catalog.assessed_rows.job(run.job_id)
            # Whoever set the watermark meanwhile is obeyed: the move was refused in the database, too.
            if job is not None and move is not None and self.watermark(job) == move.old:
                self._watermarks.move(run.job_id, move.old, move.new)
            failed = outcome.state is not RunState.SUCCESS and outcome.retry is None
            self._look_again(run.job_id, now, failed=failed)

    def _look_again(self, job_id: str, now: datetime, *, failed: bool) -> None:
        """A window is no longer in progress: its job's next one may follow."""
        job, state = self._catalog.assessed_rows.scheduled(job_id), self.states.get(job_id)
        if job is None or state is None or state.cursor_at is None:
            return
        if not job.definition.stateful:
            if job_id in self._backlogs:
                self._reschedule(job, state, now)
            return
        if failed:
            self._failed.note(job, watermark=self.watermark(job), now=now)
        self._note(job_id, self._reschedule(job, state, now))

    def reconsider(self, job_id: str, now: datetime) -> None:
        """What the database refuses of a job has begun, changed or ended: see `refusals`."""
        job, state = self._catalog.assessed_rows.scheduled(job_id), self.states.get(job_id)
        if job is not None and state is not None:
            self._note(job_id, self._reschedule(job, state, now))

    def made_up(self, job_id: str, data: DataInterval) -> None:
        """A backfill of `data` is under way: what a bound has dropped of it is given up no longer."""
        job, state = self._catalog.assessed_rows.scheduled(job_id), self.states.get(job_id)
        if job is not None and state is not None and (new := answered(state, by=data)) != state:
            self._note(job_id, replace(new, message=self._standing(job, new)))

    def _note(self, job_id: str, new: JobState) -> None:
        """Keep a state that came to be outside of a claim; it is written with the next rows."""
        if new != self.states[job_id]:
            self.states[job_id] = new
            self._unwritten.add(job_id)
            self._catalog.touch({job_id})


def _goes_on(old: JobState, new: JobState) -> bool:
    return old.cursor_at is not None and new.cursor_at == old.cursor_at


def _limit(job: Job) -> float:
    """How many runs of a job may be in progress before what waits goes on waiting."""
    if job.definition.stateful:
        return 1
    return float("inf") if job.overlap_policy is OverlapPolicy.ALLOW else job.row.max_instances

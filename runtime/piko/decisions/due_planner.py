"""What comes due of the jobs' schedules, as one batch of claims: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.core.types import RunState, TriggerType
from piko.decisions.agenda import Agenda
from piko.decisions.claim_plan import ClaimPlan
from piko.decisions.due import SHORTEST_GRACE_S, decide, grace_of, overtaken
from piko.decisions.due_window import decide_window
from piko.decisions.early_claims import EarlyClaims
from piko.decisions.given_up import given_up, noted
from piko.decisions.open_runs import OpenRuns
from piko.decisions.placement import Placement
from piko.decisions.slots import Slots, SlotTable
from piko.model.runs import Run
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove

_JOBS_AT_ONCE = 500
"""Jobs in one batch of claims: large enough for the database, small enough for the event loop."""
_RUNS_AT_ONCE = 1000
"""Where jobs have many instants due, a batch takes no further job beyond so many runs."""
_SURELY_IN_TIME = timedelta(seconds=SHORTEST_GRACE_S)


class DuePlanner:
    """Takes what is due from the timetable, and decides what of it runs."""

    def __init__(
        self,
        *,
        rows: AssessedRows,
        agenda: Agenda,
        progress: OpenRuns,
        slots: SlotTable,
        placement: Placement,
        new_id: Callable[[], str],
    ) -> None:
        self._rows = rows
        self._agenda = agenda
        self._progress = progress
        self._slots = slots
        self._placement = placement
        self._new_id = new_id
        self._early = EarlyClaims(
            rows=rows, agenda=agenda, progress=progress, priority=self._priority, most_runs=_RUNS_AT_ONCE
        )

    def plan(self, now: datetime, *, first: Iterable[Run], ahead: timedelta) -> ClaimPlan:
        """What to claim now, up to a good number of jobs. Nothing of it counts before it is claimed.

        - `first`: runs that wait already; where slots are short, they are taken for these.
        - `ahead`: what comes due within so much is claimed already, where that is possible.
        """
        timetable = self._agenda.timetable
        due = timetable.take_due(now, most=_JOBS_AT_ONCE, priority=self._priority)
        plan = ClaimPlan(new_id=self._new_id, placement=self._placement, now=now)
        if not due and ((moment := timetable.earliest(ahead)) is None or moment > now):
            return plan
        slots = self._slots.for_live(now)
        for run in first:
            slots.take(self._rows.job(run.job_id))
        for job_id in due:
            if len(plan.runs) >= _RUNS_AT_ONCE:
                self._agenda.timetable.put(job_id, now)
            else:
                self._add(plan, job_id, slots, now)
        if ahead:
            self._early.add(plan, slots, ahead, most=_JOBS_AT_ONCE - len(due))
        return plan

    def _priority(self, job_id: str) -> int:
        job = self._rows.scheduled(job_id)
        return 0 if job is None else job.row.priority

    def _add(self, plan: ClaimPlan, job_id: str, slots: Slots, now: datetime) -> None:
        agenda = self._agenda
        job, state = self._rows.scheduled(job_id), agenda.states.get(job_id)
        if job is None or state is None or state.cursor_at is None:
            return
        if state.schedule_hash != job.schedule.fingerprint:
            return  # the row was edited just now: the cursor belongs to the schedule before
        if agenda.lacks_config(job, now) is not None:
            agenda.note(job_id, agenda.schedule(job, state, now))
        elif job.definition.stateful:
            self._add_window(plan, job, state, slots, now)
        elif not self._add_plain(plan, job, state, slots, now):
            self._add_instants(plan, job, state, slots, now)

    def _add_plain(self, plan: ClaimPlan, job: Job, state: JobState, slots: Slots, now: datetime) -> bool:
        """The short way of a job with an instant due, in time, and nothing to judge; else False.

        Nothing of it is in progress or left from before, and nothing moves its start or holds it back. It
        comes to what `_add_instants` comes to, in a third of the time; nearly every run goes this way.
        """
        assert state.cursor_at is not None
        agenda, job_id = self._agenda, job.job_id
        if (
            job.row.jitter_s
            or self._progress.busy(job_id)
            or job_id in agenda.unseen
            or job_id in agenda.backlogs
            or agenda.refusals.held(job_id, now) is not None
            or not slots.has_slot(job)
        ):
            return False
        instants = job.schedule.next_two_after(state.cursor_at)
        if instants is None or instants[0] > now:
            return False
        instant, following = instants
        if now - instant > _SURELY_IN_TIME and now - instant > grace_of(job):
            return False
        if following <= now:
            if not job.row.coalesce:
                return False
            others, instant = overtaken(job.schedule, cursor=state.cursor_at, first=instant, now=now)
            next_one = job.schedule.next_after(instant)
            if next_one is None:
                return False
            following = next_one
            plan.pass_over(job, RunState.SKIPPED, others, "coalesced")
        slots.take(job)
        plan.add(job, instant, waits=False)
        # Nothing holds the job back, and it has no jitter.
        agenda.timetable.put(job_id, following, early=True)
        plan.states[job_id] = agenda.advance(job, state, cursor=instant, following=following)
        return True

    def _add_instants(self, plan: ClaimPlan, job: Job, state: JobState, slots: Slots, now: datetime) -> None:
        assert state.cursor_at is not None
        agenda = self._agenda
        due = decide(job, cursor=state.cursor_at, now=now)
        if (begin := agenda.unseen.get(job.job_id)) is not None:
            plan.pass_over(job, begin.state, begin.unseen, "unseen")
            plan.states[job.job_id] = agenda.schedule(job, state, now)
            if job.schedule.fires_once and due.through is None:
                plan.completed.add(job.job_id)
        if due.through is None:
            agenda.schedule(job, state, now)
            return
        turn = agenda.backlogs.take_turn(
            job,
            due,
            now=now,
            running=self._progress.running_of(job.job_id),
            waiting=self._progress.due_waiting_of(job.job_id),
            slots=slots,
        )
        if turn.through is not None:
            plan.add_turn(job, due, turn.admission)
            plan.states[job.job_id] = agenda.schedule(job, state, now, cursor=turn.through)
            if job.schedule.fires_once:
                plan.completed.add(job.job_id)

    def _add_window(self, plan: ClaimPlan, job: Job, state: JobState, slots: Slots, now: datetime) -> None:
        agenda = self._agenda
        if self._progress.busy(job.job_id):
            return
        watermark = agenda.watermark(job)
        due = decide_window(job, watermark=watermark, now=now)
        for bound, span in due.given_up:
            item = given_up(job, bound, span)
            plan.give_up(job, item, span)
            state = noted(state, item)
        plan.pass_over(job, RunState.SKIPPED, due.skipped, "policy")
        if due.window is None:
            cursor = max(state.cursor_at or now, now) if watermark is None else state.cursor_at
            plan.states[job.job_id] = agenda.schedule(job, state, now, cursor=cursor)
            return
        if due.watermark is not None and due.watermark != watermark:
            plan.watermarks.append(WatermarkMove(job_id=job.job_id, old=watermark, new=due.watermark))
        waits = not slots.has_slot(job)
        if not waits:
            slots.take(job)
        plan.again |= job.job_id in agenda.failed
        trigger = TriggerType.CATCH_UP if due.catching_up else TriggerType.SCHEDULE
        plan.add(job, due.window.end, waits=waits, window=due.window, trigger_type=trigger)
        following = job.schedule.next_after(due.window.end)
        state = replace(state, cursor_at=due.window.end, next_run_at=following)
        plan.states[job.job_id] = replace(state, message=agenda.message(job, state))
        if job.schedule.fires_once:
            plan.completed.add(job.job_id)

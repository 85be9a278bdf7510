"""What comes due within the horizon, added to a batch of claims: pure.

Which due times may be claimed ahead, `claims_ahead` says.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.core.types import RunState
from piko.decisions.agenda import Agenda
from piko.decisions.claim_plan import ClaimPlan
from piko.decisions.claims_ahead import most_ahead, upcoming
from piko.decisions.due import start_of
from piko.decisions.open_runs import OpenRuns
from piko.decisions.slots import Slots
from piko.model.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What the claims of one batch are decided by.

    - `rivals`: the priorities, rising, of what comes due within the horizon; each that is higher than that of
      a job is left a slot.
    - `others`: how many jobs come due at all; further due times of one job leave each of them a slot.
    - `claimed`: by job, the runs of the batch that start now.
    - `waits`: whether a run of the batch waits for a slot.
    """

    slots: Slots
    ahead: timedelta
    rivals: Sequence[int]
    others: int
    claimed: dict[str, list[Run]]
    waits: bool


class EarlyClaims:
    """Takes from the timetable what comes due within the horizon, and decides what of it is claimed."""

    def __init__(
        self,
        *,
        rows: AssessedRows,
        agenda: Agenda,
        progress: OpenRuns,
        priority: Callable[[str], int],
        most_runs: int,
    ) -> None:
        self._rows = rows
        self._agenda = agenda
        self._progress = progress
        self._priority = priority
        self._most_runs = most_runs

    def add(self, plan: ClaimPlan, slots: Slots, ahead: timedelta, *, most: int) -> None:
        """Add due times of up to `most` jobs to `plan`, which holds what is due now."""
        timetable = self._agenda.timetable
        early = timetable.take_early(plan.now + ahead, most=most, priority=self._priority)
        if not early:
            return
        others = len(timetable) + len(early)
        coming = timetable.coming(plan.now + ahead) if others > slots.free else ()
        claimed: dict[str, list[Run]] = {}
        for run in plan.runs:
            claimed.setdefault(run.job_id, []).append(run)
        scene = _Scene(
            slots=slots,
            ahead=ahead,
            rivals=sorted(map(self._priority, coming)),
            others=others,
            claimed=claimed,
            waits=any(run.state is RunState.QUEUED for run in plan.runs),
        )
        for job_id in early:
            self._add(plan, job_id, scene)

    def _add(self, plan: ClaimPlan, job_id: str, scene: _Scene) -> None:
        """Claim the next due times of a job before they come; or look at it when the next one has come."""
        agenda, now = self._agenda, plan.now
        job, state = self._rows.scheduled(job_id), plan.states.get(job_id) or agenda.states.get(job_id)
        if job is None or state is None or state.cursor_at is None:
            return
        if state.schedule_hash != job.schedule.fingerprint:
            return  # the row was edited just now: the cursor belongs to the schedule before
        if len(plan.runs) >= self._most_runs:
            agenda.schedule(job, state, now)
            return
        cursor, slots, goes_on = state.cursor_at, scene.slots, False
        left_free = len(scene.rivals) - bisect_right(scene.rivals, job.row.priority)
        most = self._most(job, scene, now)
        for due in upcoming(job, cursor=cursor, now=now, within=scene.ahead, most=most):
            goes_on = slots.free > left_free or slots.shares(job)
            if not goes_on:
                break
            slots.take_ahead(job)
            plan.add_ahead(job, due, state)
            # As `agenda.schedule`: `_most` has seen that nothing holds the job back.
            agenda.timetable.put(job_id, due.following_starts_at, early=True)
            state = agenda.advance(job, state, cursor=due.instant, following=due.following)
            plan.states[job_id] = state
            cursor, left_free = due.instant, scene.others
        if not goes_on and (instant := job.schedule.next_after(cursor)) is not None:
            agenda.timetable.put(job_id, start_of(job, instant))

    def _most(self, job: Job, scene: _Scene, now: datetime) -> int:
        job_id, agenda = job.job_id, self._agenda
        if (
            job.row.concurrency_group is not None
            or scene.waits
            or self._progress.waiting
            or job_id in agenda.unseen
            or job_id in agenda.backlogs
            or agenda.holds_back(job, now) is not None
        ):
            return 0
        runs = (*self._progress.running_of(job_id), *scene.claimed.get(job_id, ()))
        return most_ahead(job, runs, now=now, within=scene.ahead)

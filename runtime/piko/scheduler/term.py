"""One term of leadership: what this leader knows of the jobs, and the decisions it takes.

Nothing in here awaits: a term is the functional core of the dispatcher. It is asked what is due, is told
what was claimed, started and recorded, and answers with batches to write and runs to start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from piko.core.types import JobStatus, OverlapPolicy, RunState, TriggerType
from piko.execution.outcome import after
from piko.observability.metrics import Metrics
from piko.schedule import start_offset, why_silent
from piko.scheduler.due import Span, decide, decide_window
from piko.scheduler.plan import Plan, PlannedJob, Verdict
from piko.scheduler.timetable import Timetable
from piko.store.leases import Fence
from piko.store.run_rows import Outcome, PassedOver, Run
from piko.store.runs import ClaimBatch
from piko.store.states import JobState
from piko.store.watermarks import WatermarkMove


@dataclass(slots=True)
class Draft:
    """A batch of claims while it is being filled."""

    runs: list[Run] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    states: dict[str, JobState] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)
    watermarks: list[WatermarkMove] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    """Running runs that a newer instant replaces."""
    superseded: list[Run] = field(default_factory=list)
    """Queued runs that a newer instant replaces."""

    def batch(self, token: str) -> ClaimBatch:
        return ClaimBatch(
            token=token,
            runs=self.runs,
            passed_over=self.passed_over,
            states=list(self.states.values()),
            completed=self.completed,
            watermarks=self.watermarks,
        )


class Term:
    """The leader's account of the jobs under one fence."""

    def __init__(
        self,
        *,
        plan: Plan,
        states: dict[str, JobState],
        fence: Fence,
        instance_id: str,
        metrics: Metrics,
        new_id: Callable[[], str],
        max_concurrent_runs: int,
    ) -> None:
        self.fence = fence
        self.states = states
        self.timetable = Timetable()
        self.running: dict[str, Run] = {}
        self.waiting: dict[str, Run] = {}
        self._plan = plan
        self._instance_id = instance_id
        self._metrics = metrics
        self._new_id = new_id
        self._max_concurrent_runs = max_concurrent_runs
        self._watermarks: dict[str, datetime] = {}
        self._of_job: dict[str, set[str]] = {}

    # ---- rows -------------------------------------------------------------------------------------

    def adopt(self, job_ids: Iterable[str], now: datetime) -> tuple[list[JobState], list[str]]:
        """Take over what the plan says of `job_ids`; the states to write, and the jobs to forget."""
        write, forget = [], []
        for job_id in job_ids:
            self._watermarks.pop(job_id, None)
            verdict = self._plan.verdicts.get(job_id)
            if verdict is None:
                self.timetable.put(job_id, None)
                if self.states.pop(job_id, None) is not None:
                    forget.append(job_id)
                continue
            old = self.states.get(job_id)
            new = self._judge(verdict, old or JobState(job_id=job_id), now)
            self.states[job_id] = new
            if new != old:
                write.append(new)
        return write, forget

    def _judge(self, verdict: Verdict, state: JobState, now: datetime) -> JobState:
        row, job = verdict.row, verdict.job
        new = replace(
            state,
            status=verdict.status.value,
            message=verdict.message,
            observed_version=row.version,
            next_run_at=None,
        )
        if job is None or verdict.status is not JobStatus.SCHEDULED:
            self.timetable.put(row.job_id, None)
            # An enable after a disable, and a repair of a broken row, begin anew: nothing is made up for.
            keeps_cursor = verdict.status is JobStatus.UNREGISTERED
            return new if keeps_cursor else replace(new, schedule_hash=None)
        fingerprint = job.schedule.fingerprint
        if state.schedule_hash != fingerprint or state.cursor_at is None:
            new = replace(new, schedule_hash=fingerprint, cursor_at=min(row.updated_at, now))
        return self._reschedule(job, new, now)

    def _reschedule(
        self, job: PlannedJob, state: JobState, now: datetime, *, blocked: bool = False
    ) -> JobState:
        """Enter the job's next instant into the timetable and into its state."""
        assert state.cursor_at is not None
        watermark = self.watermark(job)
        if not job.definition.stateful or watermark is None:
            following = job.schedule.next_after(state.cursor_at)
        elif blocked:
            following = job.schedule.next_after(max(now, watermark))
        else:
            following = job.schedule.next_after(watermark)
        if following is None:
            self.timetable.put(job.job_id, None)
            silent = why_silent(job.schedule, after=state.cursor_at) or "the schedule has no further instant"
            return replace(state, next_run_at=None, status=JobStatus.COMPLETED.value, message=silent)
        offset = start_offset(job_id=job.job_id, scheduled_time=following, jitter_s=job.row.jitter_s)
        if job.definition.stateful and watermark is not None and self.busy(job.job_id):
            self.timetable.put(job.job_id, None)  # looked at again when its run is recorded
        else:
            self.timetable.put(job.job_id, following + offset)
        self._metrics.job_next_run.labels(job.job_id).set(following.timestamp())
        return replace(state, next_run_at=following)

    def watermark(self, job: PlannedJob) -> datetime | None:
        return self._watermarks.get(job.job_id, job.row.last_data_time)

    # ---- due --------------------------------------------------------------------------------------

    def due(self, now: datetime) -> Draft:
        """What to claim now. Nothing of it counts before it is claimed; see `claimed`."""
        draft = Draft()
        jobs = [
            job for job_id in self.timetable.pop_due(now) if (job := self._plan.scheduled(job_id)) is not None
        ]
        for job in sorted(jobs, key=lambda item: -item.row.priority):
            state = self.states.get(job.job_id)
            if state is None or state.cursor_at is None:
                continue
            if job.definition.stateful:
                self._add_window(draft, job, state, now)
            else:
                self._add_instants(draft, job, state, state.cursor_at, now)
        return draft

    def _add_instants(
        self, draft: Draft, job: PlannedJob, state: JobState, cursor: datetime, now: datetime
    ) -> None:
        due = decide(job, cursor=cursor, now=now)
        self._pass_over(draft, job, RunState.MISSED, due.missed, "misfire")
        self._pass_over(draft, job, RunState.SKIPPED, due.coalesced, "coalesced")
        for instant in due.run:
            self._admit(draft, job, instant)
        last = max(
            (
                moment
                for moment in (*due.run, *(span.through for span in (due.missed, due.coalesced) if span))
            ),
            default=cursor,
        )
        draft.states[job.job_id] = self._reschedule(job, replace(state, cursor_at=last), now)
        if job.schedule.fires_once and last > cursor:
            draft.completed.add(job.job_id)

    def _admit(self, draft: Draft, job: PlannedJob, instant: datetime) -> None:
        mine = [self.running[key] for key in self._of_job.get(job.job_id, ()) if key in self.running]
        drafted = sum(run.job_id == job.job_id and run.state is RunState.RUNNING for run in draft.runs)
        full = len(mine) + drafted >= job.row.max_instances
        policy = job.overlap_policy
        if full and policy is OverlapPolicy.SKIP:
            reason = f"{len(mine) + drafted} of max_instances = {job.row.max_instances} still running"
            span = Span(first=instant, through=instant, count=1, reason=reason)
            self._pass_over(draft, job, RunState.SKIPPED, span, "overlap")
            return
        waits = full and policy is not OverlapPolicy.ALLOW
        if waits and policy is OverlapPolicy.QUEUE:
            draft.superseded.extend(run for run in self.waiting.values() if _is_scheduled(run, job.job_id))
        if waits and policy is OverlapPolicy.REPLACE:
            draft.replaced.extend(run.run_id for run in mine)
        waits = waits or not self._has_room(job, draft.runs)
        draft.runs.append(
            Run(
                run_id=self._new_id(),
                job_id=job.job_id,
                scheduled_time=instant,
                state=RunState.QUEUED if waits else RunState.RUNNING,
                priority=job.row.priority,
                instance_id=None if waits else self._instance_id,
            )
        )

    def _add_window(self, draft: Draft, job: PlannedJob, state: JobState, now: datetime) -> None:
        if self.busy(job.job_id):
            return
        watermark = self.watermark(job)
        due = decide_window(job, watermark=watermark, now=now)
        self._pass_over(draft, job, RunState.MISSED, due.missed, "lookback")
        self._pass_over(draft, job, RunState.SKIPPED, due.skipped, "policy")
        if due.window is None:
            cursor = max(state.cursor_at or now, now) if watermark is None else state.cursor_at
            draft.states[job.job_id] = self._reschedule(job, replace(state, cursor_at=cursor), now)
            return
        if due.watermark is not None and due.watermark != watermark:
            draft.watermarks.append(WatermarkMove(job_id=job.job_id, old=watermark, new=due.watermark))
        waits = not self._has_room(job, draft.runs)
        draft.runs.append(
            Run(
                run_id=self._new_id(),
                job_id=job.job_id,
                scheduled_time=due.window.end,
                state=RunState.QUEUED if waits else RunState.RUNNING,
                trigger_type=TriggerType.CATCH_UP if due.catching_up else TriggerType.SCHEDULE,
                priority=job.row.priority,
                window=due.window,
                instance_id=None if waits else self._instance_id,
            )
        )
        following = job.schedule.next_after(due.window.end)
        draft.states[job.job_id] = replace(state, cursor_at=due.window.end, next_run_at=following)

    def _pass_over(
        self, draft: Draft, job: PlannedJob, state: RunState, span: Span | None, reason: str
    ) -> None:
        if span is None:
            return
        draft.passed_over.append(
            PassedOver(
                run_id=self._new_id(),
                job_id=job.job_id,
                state=state,
                first=span.first,
                through=span.through,
                count=span.count,
                reason=span.reason,
            )
        )
        self._metrics.job_missed.labels(job.job_id, reason).inc(span.count)

    def claimed(self, draft: Draft, won: Mapping[str, Run], now: datetime) -> list[Run]:
        """The batch is written: take it into the account; the runs to start."""
        self.states.update(draft.states)
        for move in draft.watermarks:
            self._watermarks[move.job_id] = move.new
        starting = []
        for drafted in draft.runs:
            run = won.get(drafted.run_id, drafted)
            job = self._plan.scheduled(run.job_id)
            if run.run_id in won:
                (self.waiting if run.state is RunState.QUEUED else self.running)[run.run_id] = run
                self._of_job.setdefault(run.job_id, set()).add(run.run_id)
                if run.state is RunState.RUNNING:
                    starting.append(run)
            elif run.window is not None and job is not None:
                # Another run holds the window, or the watermark has moved: its row will tell.
                state = self.states[run.job_id]
                self.states[run.job_id] = self._reschedule(job, state, now, blocked=True)
        return starting

    def held_elsewhere(self, runs: Iterable[Run]) -> None:
        """Runs of past leaders count as running until they have ended or are given up."""
        for run in runs:
            self.running[run.run_id] = run
            self._of_job.setdefault(run.job_id, set()).add(run.run_id)

    # ---- what waits -------------------------------------------------------------------------------

    def enqueue(self, runs: Iterable[Run]) -> None:
        """Take in what waits in the database: retries, and what others have queued."""
        for run in runs:
            if run.run_id not in self.running:
                self.waiting[run.run_id] = run
                self._of_job.setdefault(run.job_id, set()).add(run.run_id)

    def startable(self, now: datetime) -> list[tuple[Run, PlannedJob]]:
        """What waits, may start now and finds room; the highest priority first."""
        chosen: list[tuple[Run, PlannedJob]] = []
        for run in sorted(self.waiting.values(), key=lambda item: (-item.priority, item.scheduled_time)):
            job = self._plan.job(run.job_id)
            if job is None or (run.not_before is not None and run.not_before > now):
                continue
            taken = [item for item, _ in chosen]
            mine = sum(other.job_id == run.job_id for other in (*self.running.values(), *taken))
            limit = 1 if job.definition.stateful else job.row.max_instances
            if mine < limit and self._has_room(job, taken):
                chosen.append((replace(run, state=RunState.RUNNING, instance_id=self._instance_id), job))
        return chosen

    def started(self, runs: Sequence[Run], won: set[str], now: datetime) -> list[Run]:
        """The queued runs that were still there to start."""
        starting = []
        for run in runs:
            self.waiting.pop(run.run_id, None)
            if run.run_id in won:
                self.running[run.run_id] = run
                starting.append(run)
            else:
                self._of_job.get(run.job_id, set()).discard(run.run_id)
                self._look_again(run.job_id, now, blocked=False)
        return starting

    def next_start(self) -> datetime | None:
        """When the next waiting run may start by its own clock."""
        return min(
            (run.not_before for run in self.waiting.values() if run.not_before is not None), default=None
        )

    def _has_room(self, job: PlannedJob, drafted: Sequence[Run]) -> bool:
        starting = [run for run in drafted if run.state is RunState.RUNNING]
        if len(self.running) + len(starting) >= self._max_concurrent_runs:
            return False
        group, limit = job.row.concurrency_group, self._group_limit(job.row.concurrency_group)
        if group is None or limit is None:
            return True
        members = (self._plan.job(run.job_id) for run in (*self.running.values(), *starting))
        return sum(member is not None and member.row.concurrency_group == group for member in members) < limit

    def _group_limit(self, group: str | None) -> int | None:
        if group is None:
            return None
        limits = [
            verdict.row.concurrency_limit
            for verdict in self._plan.verdicts.values()
            if verdict.row.concurrency_group == group and verdict.row.concurrency_limit is not None
        ]
        return min(limits, default=None)

    # ---- the end of runs --------------------------------------------------------------------------

    def busy(self, job_id: str) -> bool:
        return bool(self._of_job.get(job_id))

    def summarised(self, outcome: Outcome) -> Outcome:
        """The outcome with the job's summary that it makes."""
        old = self.states.get(outcome.run.job_id)
        if old is None:  # its row is gone; its run stays as history
            return outcome
        self.states[outcome.run.job_id] = new = after(old, outcome)
        return replace(outcome, job_state=new)

    def recorded(self, outcomes: Iterable[Outcome], now: datetime) -> None:
        """The outcomes are written: free their places, and look at what follows."""
        for outcome in outcomes:
            run = outcome.run
            self.running.pop(run.run_id, None)
            self.waiting.pop(run.run_id, None)
            self._of_job.get(run.job_id, set()).discard(run.run_id)
            if outcome.retry is not None:
                self.enqueue([outcome.retry])
            planned, move = self._plan.job(run.job_id), outcome.watermark
            # Whoever set the watermark meanwhile is obeyed: the move was refused in the database, too.
            if planned is not None and move is not None and self.watermark(planned) == move.old:
                self._watermarks[run.job_id] = move.new
                self._metrics.job_watermark.labels(run.job_id).set(move.new.timestamp())
            self._look_again(run.job_id, now, blocked=outcome.state is not RunState.SUCCESS)

    def _look_again(self, job_id: str, now: datetime, *, blocked: bool) -> None:
        """A window is no longer in progress: its job's next one may follow."""
        job, state = self._plan.scheduled(job_id), self.states.get(job_id)
        if job is None or state is None or not job.definition.stateful or state.cursor_at is None:
            return
        self.states[job_id] = self._reschedule(job, state, now, blocked=blocked)


def _is_scheduled(run: Run, job_id: str) -> bool:
    return run.job_id == job_id and run.trigger_type is TriggerType.SCHEDULE

"""A batch of claims while it is being filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from piko.catalog.jobs import Job
from piko.core.types import DataInterval, RunState, TriggerType
from piko.decisions.claims_ahead import ClaimedAhead, Upcoming
from piko.decisions.due import Due, Span
from piko.decisions.effects import Claim
from piko.decisions.given_up import GivenUp
from piko.decisions.overlap import Admission
from piko.decisions.placement import Placement
from piko.model.claims import ClaimBatch
from piko.model.runs import PassedOver, Run
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove


@dataclass(slots=True, kw_only=True)
class ClaimPlan:
    """Decisions that do not count before they are written."""

    new_id: Callable[[], str]
    placement: Placement
    now: datetime
    runs: list[Run] = field(default_factory=list)
    passed_over: list[tuple[PassedOver, str]] = field(default_factory=list)
    """Each with the word for it in the metrics."""
    states: dict[str, JobState] = field(default_factory=dict)
    again: bool = False
    """Whether there is a window among the runs that was claimed before, and failed."""
    completed: set[str] = field(default_factory=set)
    watermarks: list[WatermarkMove] = field(default_factory=list)
    given_up: list[GivenUp] = field(default_factory=list)
    """Data that a bound drops."""
    replaced: list[Run] = field(default_factory=list)
    """Running runs that a newer instant replaces."""
    superseded: list[Run] = field(default_factory=list)
    """Queued runs that a newer instant replaces."""
    ahead: dict[str, ClaimedAhead] = field(default_factory=dict)
    """By run id, what runs were decided by that start later."""

    def add(
        self,
        job: Job,
        instant: datetime,
        *,
        waits: bool,
        window: DataInterval | None = None,
        trigger_type: TriggerType = TriggerType.SCHEDULE,
        starts_at: datetime | None = None,
    ) -> Run:
        """A run of `job` that waits, or starts at `starts_at`; None: now."""
        chained = trigger_type is TriggerType.CATCH_UP
        where = (
            {"state": RunState.QUEUED}
            if waits
            else self.placement.where(job.job_id, self.now, chained=chained)
        )
        run = Run(
            run_id=self.new_id(),
            job_id=job.job_id,
            scheduled_time=instant,
            trigger_type=trigger_type,
            priority=job.row.priority,
            window=window,
            starts_at=starts_at,
            **where,
        )
        self.runs.append(run)
        return run

    def add_ahead(self, job: Job, due: Upcoming, before: JobState) -> None:
        """A run of `job` that starts later."""
        run = self.add(job, due.instant, waits=False, starts_at=due.starts_at)
        self.ahead[run.run_id] = ClaimedAhead(row=job.row, before=before)

    def add_turn(self, job: Job, due: Due, admission: Admission) -> None:
        """What was decided of the instants of a stateless job."""
        self.pass_over(job, RunState.MISSED, due.missed, "misfire")
        self.pass_over(job, RunState.SKIPPED, due.coalesced, "coalesced")
        self.pass_over(job, RunState.SKIPPED, admission.skipped, "overlap")
        for instant in admission.start:
            self.add(job, instant, waits=False)
        for instant in admission.wait:
            self.add(job, instant, waits=True)
        self.replaced.extend(admission.replaced)
        self.superseded.extend(admission.superseded)

    def pass_over(self, job: Job, state: RunState, span: Span | None, reason: str) -> None:
        """Record instants that do not run."""
        if span is None:
            return
        item = PassedOver(
            run_id=self.new_id(),
            job_id=job.job_id,
            state=state,
            first=span.first,
            through=span.through,
            count=span.count,
            reason=span.reason,
        )
        self.passed_over.append((item, reason))

    def give_up(self, job: Job, item: GivenUp, span: Span) -> None:
        """Record data that a bound drops, with the line that gets it back."""
        self.given_up.append(item)
        self.pass_over(job, RunState.MISSED, replace(span, reason=item.message), item.bound.value)

    def claim(self) -> Claim:
        """What the database is asked to write, and what follows when it has."""
        return Claim(
            batch=ClaimBatch(
                token=self.new_id(),
                runs=self.runs,
                passed_over=[item for item, _ in self.passed_over],
                states=list(self.states.values()),
                again=self.again,
                completed=self.completed,
                watermarks=self.watermarks,
            ),
            now=self.now,
            reasons=[reason for _, reason in self.passed_over],
            given_up=self.given_up,
            replaced=self.replaced,
            superseded=self.superseded,
            ahead=self.ahead,
        )

"""Runs: attempts at a due time, how they ended, and instants that do not run.

Instants are aware. A run's `state` and `trigger_type` say how far it is and why it exists, see
`piko.core.types`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from piko.core.types import DataInterval, RunState, TriggerType
from piko.model.watermarks import WatermarkMove

DueTime = tuple[str, datetime]
"""A job and its scheduled time: what one run at a time may claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt at one due time.

    `attempt` counts from 1. A queued run does not start before `not_before`; once it has `offered_at`, any
    replica may take it. `window` is the data that a run of a stateful job covers. `instance_id` runs it,
    under the leadership of `epoch`, with the config of `config_revision`, once these are decided. A run that
    was claimed ahead has `starts_at`: its handler does not begin before that. `config_overrides` is a JSON
    object of values that it has instead of those of its config. `traceparent` names the span that its own is
    a child of, if it belongs to a trace.
    """

    run_id: str
    job_id: str
    scheduled_time: datetime
    state: RunState
    attempt: int = 1
    trigger_type: TriggerType = TriggerType.SCHEDULE
    priority: int = 0
    not_before: datetime | None = None
    window: DataInterval | None = None
    instance_id: str | None = None
    epoch: int | None = None
    backfill_id: str | None = None
    offered_at: datetime | None = None
    config_revision: int | None = None
    starts_at: datetime | None = None
    config_overrides: str | None = None
    traceparent: str | None = None

    def starts_after(self, moment: datetime) -> bool:
        """Whether it was claimed ahead, and is to start after `moment` only."""
        return self.starts_at is not None and self.starts_at > moment

    @property
    def is_offered(self) -> bool:
        return self.state is RunState.QUEUED and self.offered_at is not None

    @property
    def due_time(self) -> DueTime:
        return self.job_id, self.scheduled_time

    def queued_for_its_time(self) -> Run:
        """The same attempt, waiting in the queue for its `starts_at`."""
        return replace(
            self, state=RunState.QUEUED, instance_id=None, not_before=self.starts_at, starts_at=None
        )

    @property
    def follows_watermark(self) -> bool:
        """Whether its window is still to be done only while the watermark stands at its start."""
        outside = (TriggerType.BACKFILL, TriggerType.MANUAL)
        return self.window is not None and self.trigger_type not in outside


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """Consecutive instants of a job that do not run, for `reason`: the first, the last, and their `count`."""

    run_id: str
    job_id: str
    state: RunState
    first: datetime
    through: datetime
    count: int
    reason: str
    trigger_type: TriggerType = TriggerType.SCHEDULE


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended.

    `watermark` is the move that it earned, `retry` the next attempt, which is queued, and `result` what its
    handler returned, as JSON.
    """

    run: Run
    state: RunState
    started_at: datetime | None
    finished_at: datetime
    duration_s: float | None
    config_revision: int | None = None
    error_type: str | None = None
    error: str | None = None
    watermark: WatermarkMove | None = None
    retry: Run | None = None
    result: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is, according to its row."""

    run_id: str
    job_id: str
    state: RunState
    started_at: datetime | None
    finished_at: datetime | None

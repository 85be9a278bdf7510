"""Runs: an attempt at a due time, what is passed over, and how a run ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from piko.core.types import DataInterval, RunState, TriggerType
from piko.model.watermarks import WatermarkMove

DueTime = tuple[str, datetime]
"""A job and its scheduled time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt at one due time.

    `offered_at`: it waits for a replica, and any may take it. `config_revision`: with what config, once that
    is decided.
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

    @property
    def is_offered(self) -> bool:
        return self.state is RunState.QUEUED and self.offered_at is not None

    @property
    def due_time(self) -> DueTime:
        return self.job_id, self.scheduled_time

    @property
    def follows_watermark(self) -> bool:
        """Whether its window is still to be done only while the watermark stands at its start."""
        outside = (TriggerType.BACKFILL, TriggerType.MANUAL)
        return self.window is not None and self.trigger_type not in outside


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """Consecutive instants of a job that do not run: one row with the first, the last and their number."""

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
    """How a run ended. A `retry` is the queued next attempt."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is, as its row says."""

    run_id: str
    job_id: str
    state: RunState
    started_at: datetime | None
    finished_at: datetime | None

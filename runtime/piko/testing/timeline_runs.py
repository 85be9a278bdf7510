"""What a `Timeline` shows of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from piko.core.types import DataInterval, RunState, TriggerType


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRun:
    """A run, or consecutive due times that did not run.

    Due times that were passed over have no `started_at`; their state is `SKIPPED` or `MISSED`, `reason` says
    why, `through` is the last of them and `count` how many they are.
    """

    job_id: str
    scheduled_time: datetime
    state: RunState
    attempt: int = 1
    trigger_type: TriggerType = TriggerType.SCHEDULE
    window: DataInterval | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    through: datetime | None = None
    count: int = 1
    reason: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.state is RunState.SUCCESS

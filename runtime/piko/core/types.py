"""Values that job authors, the runtime and the operator share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

__all__ = [
    "FAILED_STATES",
    "FINAL_STATES",
    "BackfillPolicy",
    "BackfillState",
    "DataInterval",
    "JobStatus",
    "Objective",
    "OverlapPolicy",
    "RunState",
    "TriggerType",
]


class BackfillPolicy(StrEnum):
    """What a stateful job does about missed windows."""

    CATCH_UP = "CATCH_UP"
    """Run every missing window, oldest first."""
    SKIP = "SKIP"
    """Run only the latest window; the jump is recorded."""


class RunState(StrEnum):
    """States of a `job_run` row."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"
    LOST = "LOST"
    SKIPPED = "SKIPPED"
    MISSED = "MISSED"


FINAL_STATES = frozenset(RunState) - {RunState.QUEUED, RunState.RUNNING}
FAILED_STATES = frozenset({RunState.FAILED, RunState.TIMEOUT, RunState.LOST})
"""States after which a further attempt may help."""


class TriggerType(StrEnum):
    """Why a run exists."""

    SCHEDULE = "schedule"
    CATCH_UP = "catch_up"
    RETRY = "retry"
    MANUAL = "manual"
    BACKFILL = "backfill"


class BackfillState(StrEnum):
    """States of a `backfill` row: a request to run the windows of a range."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    CANCELLED = "CANCELLED"
    SUCCEEDED = "SUCCEEDED"
    """Every window of the range succeeded."""
    FAILED = "FAILED"
    """Every window of the range was run, and some did not succeed."""


class OverlapPolicy(StrEnum):
    """What happens to a due time while `max_instances` runs of the job are in progress."""

    SKIP = "skip"
    QUEUE = "queue"
    QUEUE_ALL = "queue_all"
    REPLACE = "replace"
    ALLOW = "allow"


class JobStatus(StrEnum):
    """The runtime's assessment of a schedule row, in `job_state.status`."""

    SCHEDULED = "Scheduled"
    DISABLED = "Disabled"
    COMPLETED = "Completed"
    INVALID = "Invalid"
    UNREGISTERED = "Unregistered"
    WAITING_FOR_CONFIG = "WaitingForConfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """How fresh a job keeps its data; seconds after a due time, None: no promise.

    - `data_within_s`: a run has succeeded.
    - `start_within_s`: the run has started.
    - `finish_within_s`: the run has ended, however it did.
    """

    data_within_s: float | None = None
    start_within_s: float | None = None
    finish_within_s: float | None = None


@dataclass(frozen=True, slots=True)
class DataInterval:
    """The window of data `[start, end)` that a run of a stateful job covers; both aware, UTC."""

    start: datetime
    end: datetime

    @property
    def duration(self) -> timedelta:
        return self.end - self.start

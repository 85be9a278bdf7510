"""Retention: what decides which runs, locks and revisions of a job are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFacts:
    """What the row of a job says about it; numbers of runs, seconds, and the watermark."""

    history_successful: int
    history_failed: int
    misfire_grace_s: float
    jitter_s: float
    last_data_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What retention needs to know of one job. `schedule` is None if its row was deleted."""

    job_id: str
    schedule: ScheduleFacts | None
    stateful: bool = False
    cursor_at: datetime | None = None
    last_run_id: str | None = None
    open_backfills: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRow:
    """A run that has ended. `of_window`: it is for a window of a stateful job, and not part of a backfill."""

    run_id: str
    scheduled_time: datetime
    succeeded: bool
    ended_at: datetime
    backfill_id: str | None = None
    of_window: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LockPage:
    """How many locks of one page were deleted. The next begins after `through`; None: it was the last."""

    pruned: int
    through: datetime | None

"""Requests to run the windows of a range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.core.types import BackfillState
from piko.model.runs import Run

OPEN_STATES = (BackfillState.ACTIVE, BackfillState.PAUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """One request. The windows before `next_start` have been claimed."""

    backfill_id: str
    job_id: str
    state: BackfillState = BackfillState.ACTIVE
    range_start: datetime
    range_end: datetime
    schedule_type: str
    schedule_expr: str
    timezone: str
    parallelism: int = 1
    next_start: datetime
    windows_total: int
    windows_succeeded: int = 0
    windows_failed: int = 0
    message: str | None = None
    requested_by: str | None = None
    finished_at: datetime | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillStep:
    """The next windows of one request: its `next_start` goes from `since` to `to`."""

    backfill_id: str
    since: datetime
    to: datetime
    runs: Sequence[Run]

    @property
    def job_id(self) -> str:
        return self.runs[0].job_id

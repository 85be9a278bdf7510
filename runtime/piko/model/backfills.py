"""Backfills: requests to run the windows of a range again, or for the first time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.core.types import BackfillState
from piko.model.runs import Run

OPEN_STATES = (BackfillState.ACTIVE, BackfillState.PAUSED)
"""States of a request that has not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """One request, a row of `backfill`; instants are aware.

    It covers the windows from `range_start` up to `range_end`, exclusive, as the schedule cuts them that the
    row had when the request was made. `parallelism` of them run at once. Those before `next_start` have been
    claimed. `windows_failed` counts those that ended without success and have no attempt left. `message` says
    why nothing of it runs just now. `traceparent` names the span in which it was asked for, if any.
    `managed_by` names the PikoBackfill that asks for it, if one does.
    """

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
    traceparent: str | None = None
    managed_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillStep:
    """The next windows of one request, as `runs`: its `next_start` moves from `since` to `to`."""

    backfill_id: str
    since: datetime
    to: datetime
    runs: Sequence[Run]

    @property
    def job_id(self) -> str:
        return self.runs[0].job_id

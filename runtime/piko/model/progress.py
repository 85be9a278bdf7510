"""Progress of a job that is kept for the next row with its id, see `piko.store.progress`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a job had come when its row was deleted.

    `data_through` is its watermark, `cursor_at` the last instant that was dealt with. `row_gone_at` is when a
    leader saw that the row was deleted, None until then.
    """

    job_id: str
    data_through: datetime | None
    cursor_at: datetime | None
    row_gone_at: datetime | None

"""How far a job had come, kept for the next row of its id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a job had come. `row_gone_at` is None until a leader has seen that its row was deleted."""

    job_id: str
    data_through: datetime | None
    cursor_at: datetime | None
    row_gone_at: datetime | None

"""Watermarks of stateful jobs, and their moves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

Watermarks = dict[str, datetime | None]
"""By job; a job without a row is not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatermarkMove:
    """A compare-and-set of a job's watermark."""

    job_id: str
    old: datetime | None
    new: datetime

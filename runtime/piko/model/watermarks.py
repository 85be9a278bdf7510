"""Watermarks: up to where the data of a stateful job is done, and how that moves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

Watermarks = dict[str, datetime | None]
"""By job, None: it has none yet. A job without a row is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatermarkMove:
    """A compare-and-set of a job's watermark: from `old`, if it is still that, to `new`."""

    job_id: str
    old: datetime | None
    new: datetime

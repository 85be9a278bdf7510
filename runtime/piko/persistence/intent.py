"""A record that a job wants written to a sink."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["WriteIntent"]


@dataclass(slots=True, kw_only=True)
class WriteIntent:
    """`payload` for the sink named `sink`, from one run.

    Delivery is at least once. `idempotency_key` is the same for every delivery of the intent and for every
    attempt at its due time, provided that the handler uses the same `key`. A sink that upserts by it writes
    each record once.
    """

    sink: str
    key: str
    payload: Any
    job_id: str
    run_id: str
    scheduled_time: datetime

    @property
    def idempotency_key(self) -> str:
        return f"{self.job_id}@{self.scheduled_time.isoformat()}/{self.sink}/{self.key}"

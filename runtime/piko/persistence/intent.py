"""One thing that a job wants written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(slots=True, kw_only=True)
class WriteIntent:
    """`payload` for the sink named `sink`, from one run.

    Delivery is at least once. `idempotency_key` is the same however often the intent is delivered and
    however often its due time is attempted, provided that the handler gives the same `key`: a sink that
    writes under it writes once.
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

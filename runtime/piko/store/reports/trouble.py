"""One trouble of an installation, as `piko status`, the API and the page say it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One trouble: of which kind, whose, in one sentence, since when, and what to do.

    `job_id` and `managed_by` are those of a job, and `error` is the first line of what it said last.
    """

    kind: str
    subject: str
    text: str
    remedy: str
    since: datetime | None = None
    job_id: str | None = None
    managed_by: str | None = None
    error: str | None = None

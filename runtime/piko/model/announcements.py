"""What has been announced, and how the jobs concerned stand: what is to be announced follows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from piko.core.types import DataInterval
from piko.model.objectives import JobObjective


class AnnouncedKind(StrEnum):
    """What is announced of a job when it begins, and when it ends."""

    FAILURE = "failure"
    LATE = "late"


class Recipient(StrEnum):
    """Who hears of changes. What one has heard is written apart from what the other has."""

    HOOKS = "hooks"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """That a job fails or is late, `since` then, has been announced: a row of its recipient's table."""

    job_id: str
    kind: AnnouncedKind
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """The run of a job that ended last; what only its own row says is None where that is no longer kept."""

    run_id: str
    state: str
    scheduled_time: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int | None
    window: DataInterval | None
    error_type: str | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcernedJob:
    """A job of which something may have to be announced, and how far it has come.

    - `failures`: attempts that have failed since the last success.
    - `is_retried`: a further attempt at a due time waits or is in progress.
    - `objective`: None, it has none.
    """

    job_id: str
    owner: str | None
    failures: int
    is_retried: bool
    last_run: LastRun | None
    last_success_at: datetime | None
    watermark: datetime | None
    objective: JobObjective | None = None

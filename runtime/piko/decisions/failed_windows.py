"""Windows that failed and are not tried again by a retry: each waits for its schedule's next instant. Pure.

A chain of windows stops at one that fails, and a job that fails each time must not be run in a loop. So its
window is tried again when the schedule asks for something new, and not before: not because of a new leader,
nor because somebody edits the row.
"""

from __future__ import annotations

from datetime import datetime

from piko.catalog.jobs import Job
from piko.core.types import RunState
from piko.model.states import JobState

_FAILED = frozenset({RunState.FAILED, RunState.TIMEOUT, RunState.LOST, RunState.CANCELLED})


class FailedWindows:
    """The jobs whose window failed, and until when each waits."""

    def __init__(self) -> None:
        self._until: dict[str, datetime | None] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._until

    def note(self, job: Job, *, watermark: datetime | None, now: datetime) -> None:
        """The window at `watermark` has failed just now."""
        self._until[job.job_id] = job.schedule.next_after(max(now, watermark or now))

    def note_as_left(self, job: Job, state: JobState, *, watermark: datetime | None, now: datetime) -> None:
        """Under an earlier leader the window at `watermark` may have failed, as `state` says."""
        if not job.definition.stateful or watermark is None or state.last_state not in _FAILED:
            return
        if state.last_scheduled_time == job.schedule.next_after(watermark):
            began = state.last_started_at or now
            self._until[job.job_id] = job.schedule.next_after(max(began, watermark))

    def put_off(self, job_id: str, following: datetime | None) -> datetime | None:
        """When the job is looked at, which would be at `following`; None: never."""
        if job_id not in self._until:
            return following
        until = self._until[job_id]
        return None if following is None or until is None else max(following, until)

    def forget(self, job_id: str) -> None:
        """Its window has been claimed again, or the job has another schedule or watermark."""
        self._until.pop(job_id, None)

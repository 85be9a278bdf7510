"""Ends that no handler brings about, and the attempts that follow an end: pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from piko.catalog.jobs import Job
from piko.core.types import FAILED_STATES, RunState, TriggerType
from piko.model.runs import Outcome, Run

# No later tick comes back to a window of a backfill, so a crash of the replica must not leave it out; one
# that brings down every replica must not do so for ever.
_ATTEMPTS_AT_A_LOST_WINDOW = 3

NO_ROW = "its row or its code went away before it could start"


def without_row(run: Run, now: datetime) -> Outcome:
    """The end of a run whose job went away before it could start."""
    return Outcome(
        run=run,
        state=RunState.CANCELLED,
        started_at=None,
        finished_at=now,
        duration_s=None,
        error=NO_ROW,
    )


def missed(run: Run, now: datetime, *, why: str) -> Outcome:
    """The end of a run that waited until it was too late to start."""
    return Outcome(
        run=run, state=RunState.MISSED, started_at=None, finished_at=now, duration_s=None, error=why
    )


def left_out(run: Run, now: datetime, *, why: str) -> Outcome:
    """The end of a run that was claimed ahead, and that the job's row wants left out now."""
    return Outcome(
        run=run, state=RunState.SKIPPED, started_at=None, finished_at=now, duration_s=None, error=why
    )


def next_attempt(
    run: Run, job: Job, *, state: RunState, now: datetime, new_id: Callable[[], str]
) -> Run | None:
    """The queued next attempt, where one is left."""
    most = job.max_attempts
    if state is RunState.LOST and run.trigger_type is TriggerType.BACKFILL:
        most = max(most, _ATTEMPTS_AT_A_LOST_WINDOW)
    if state not in FAILED_STATES or run.attempt >= most:
        return None
    delay = 0.0 if state is RunState.LOST else job.retry_delay_s(run.attempt)
    # A run that was claimed ahead may be lost before its time; no attempt begins before that.
    begin = now if run.starts_at is None else max(now, run.starts_at)
    return queued_again(run, new_id(), attempt=run.attempt + 1, not_before=begin + timedelta(seconds=delay))


def queued_again(run: Run, run_id: str, *, attempt: int, not_before: datetime) -> Run:
    return replace(
        run,
        run_id=run_id,
        state=RunState.QUEUED,
        attempt=attempt,
        trigger_type=run.trigger_type if run.trigger_type is TriggerType.BACKFILL else TriggerType.RETRY,
        not_before=not_before,
        instance_id=None,
        epoch=None,
        offered_at=None,
        config_revision=None,
        starts_at=None,
    )

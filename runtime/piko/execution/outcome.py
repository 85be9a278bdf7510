"""How a handler ended, and the outcome that follows: pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from piko.catalog.jobs import Job
from piko.core.types import RunState, TriggerType
from piko.decisions.ends import next_attempt, queued_again
from piko.model.fences import InstanceFence
from piko.model.runs import Outcome, Run
from piko.model.watermarks import WatermarkMove


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a handler ended."""

    run: Run
    job: Job
    fence: InstanceFence
    state: RunState
    started_at: datetime
    finished_at: datetime
    duration_s: float
    config_revision: int | None = None
    error_type: str | None = None
    error: str | None = None
    by_shutdown: bool = False
    result: str | None = None
    """What its handler returned, as JSON."""


def conclude(ending: Ending, *, new_id: Callable[[], str]) -> Outcome:
    """The outcome of a run, with the next attempt and the watermark move if there are any."""
    run, job = ending.run, ending.job
    retry: Run | None
    if ending.by_shutdown and ending.state is RunState.CANCELLED:  # the same attempt again, at once
        retry = queued_again(run, new_id(), attempt=run.attempt, not_before=ending.finished_at)
    else:
        retry = next_attempt(run, job, state=ending.state, now=ending.finished_at, new_id=new_id)
    watermark = None
    if (
        ending.state is RunState.SUCCESS
        and run.window is not None
        and run.trigger_type is not TriggerType.BACKFILL
    ):
        watermark = WatermarkMove(job_id=run.job_id, old=run.window.start, new=run.window.end)
    return Outcome(
        run=run,
        state=ending.state,
        started_at=ending.started_at,
        finished_at=ending.finished_at,
        duration_s=ending.duration_s,
        config_revision=ending.config_revision,
        error_type=ending.error_type,
        error=ending.error,
        watermark=watermark,
        retry=retry,
        result=ending.result,
    )

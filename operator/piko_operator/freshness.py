"""The condition `Fresh`: whether a job keeps its objectives. Pure, from its deadlines and the time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from piko.model.objectives import Deadline, JobObjective, ObjectiveKind
from piko_operator.ownership import Condition
from piko_operator.shapes import duration_text, instant_text

_REASONS = {
    ObjectiveKind.DATA: "DataLate",
    ObjectiveKind.START: "StartLate",
    ObjectiveKind.FINISH: "FinishLate",
}


def fresh(job: JobObjective, dues: Sequence[Deadline], *, now: datetime) -> Condition:
    """Whether none of the deadlines `dues`, the earliest first, has passed."""
    late = [due for due in dues if due.at <= now]
    if not late:
        text = "every objective is met"
        return Condition(type="Fresh", status="True", reason="Fresh", message=text)
    paused = "" if job.enabled else "; the schedule is suspended"
    return Condition(
        type="Fresh", status="False", reason=_REASONS[late[0].kind], message=_said(job, late[0]) + paused
    )


def _said(job: JobObjective, late: Deadline) -> str:
    when = instant_text(late.at)
    match late.kind:
        case ObjectiveKind.DATA:
            reached = f"the watermark is at {instant_text(job.reached)}"
            if not job.stateful:
                since = job.last_success_at
                reached = "no run has succeeded yet" if since is None else _last(since)
            return f"a run had to succeed by {when} (dataWithin {_length(job.data_within_s)}), and {reached}"
        case ObjectiveKind.START:
            return f"a run had to start by {when} (startWithin {_length(job.start_within_s)}), and has not"
        case ObjectiveKind.FINISH:
            return f"a run had to end by {when} (finishWithin {_length(job.finish_within_s)}), and has not"


def _last(success: datetime) -> str:
    return f"the last success was at {instant_text(success)}"


def _length(seconds: float | None) -> str:
    return duration_text(seconds or 0.0)

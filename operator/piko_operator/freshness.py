"""The condition `Fresh`: whether a job keeps its objectives. Pure, from its deadlines and the time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from piko.model.objectives import Deadline, JobObjective, ObjectiveKind, broken
from piko_operator.ownership import Condition

_REASONS = {
    ObjectiveKind.DATA: "DataLate",
    ObjectiveKind.START: "StartLate",
    ObjectiveKind.FINISH: "FinishLate",
}


def fresh(job: JobObjective, dues: Sequence[Deadline], *, now: datetime) -> Condition:
    """Whether none of the deadlines `dues`, the earliest first, has passed."""
    late = next((due for due in dues if due.at <= now), None)
    if late is None:
        text = "every objective is met"
        return Condition(type="Fresh", status="True", reason="Fresh", message=text)
    return Condition(type="Fresh", status="False", reason=_REASONS[late.kind], message=broken(job, late))

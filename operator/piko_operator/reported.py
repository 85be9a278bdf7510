"""The status of the resources: what the operator reports in it, and what `kubectl get` shows.

`piko_operator.status` writes it. The API server keeps the fields that are named here, and drops any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from piko_operator.conditions import MESSAGE_LIMIT
from piko_operator.trigger_annotation import LONGEST_VALUE

_READY = '.status.conditions[?(@.type=="Ready")]'
_FRESH = '.status.conditions[?(@.type=="Fresh")]'
_SYNCED = '.status.conditions[?(@.type=="Synced")]'

Number = Annotated[int, WithJsonSchema({"type": "integer", "format": "int64"})]
Name = Annotated[str, Field(max_length=64)]
Message = Annotated[str, Field(max_length=MESSAGE_LIMIT)]
Handled = Annotated[str, Field(max_length=LONGEST_VALUE)]
"""The value of an annotation, bounded."""
_RECONCILED = "The value of the annotation piko.dev/reconcile-at that was handled last."


class StatusPart(BaseModel):
    """A part of a status: camelCase, nothing unknown."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class ReportedCondition(StatusPart):
    """One condition, as Kubernetes has them."""

    type: Name
    status: Literal["True", "False", "Unknown"]
    reason: Name
    message: Message
    last_transition_time: datetime
    observed_generation: (
        Annotated[int, WithJsonSchema({"type": "integer", "format": "int64", "minimum": 0})] | None
    ) = None


Conditions = Annotated[
    list[ReportedCondition],
    Field(
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]


class ReportedRow(StatusPart):
    """The row in the database."""

    version: Number | None = None
    managed_by: str | None = Field(
        None, description="cluster/namespace/name/uid of the owner; absent: SQL owns the row."
    )


class ReportedRun(StatusPart):
    """A run that has ended."""

    run_id: str | None = None
    state: str | None = None
    scheduled_time: datetime | None = None
    start_time: datetime | None = None
    duration: str | None = None
    message: Message | None = None


class ReportedTrigger(StatusPart):
    """What was done about the annotation piko.dev/trigger."""

    value: Annotated[str, Field(max_length=LONGEST_VALUE)] | None = Field(
        None, description="The value that was acted on or refused last; it is not looked at again."
    )
    time: datetime | None = None
    run_id: str | None = Field(None, description="The run that was queued.")
    scheduled_time: datetime | None = None
    refusal: Message | None = Field(None, description="Why no run was queued.")


class ScheduleStatus(StatusPart):
    """What the operator has seen."""

    observed_generation: Number | None = Field(
        None, description="The generation that this status speaks of; -1, none yet."
    )
    served_by: str | None = Field(
        None, description="The operator that serves this resource: namespace and name of its Lease."
    )
    schedule: str | None = Field(None, description="What the schedule says, in one line.")
    conditions: Conditions | None = None
    next_run_time: datetime | None = None
    last_scheduled_time: datetime | None = None
    last_success_time: datetime | None = None
    last_failure_time: datetime | None = Field(
        None, description="When a run last failed, timed out or was lost."
    )
    consecutive_failures: Number | None = Field(
        None, description="Runs since the last success that failed, timed out or were lost."
    )
    data_watermark: datetime | None = Field(
        None, description="Up to where the data of a stateful job is done."
    )
    deadline: datetime | None = Field(
        None, description="The earliest instant by which the job has to have kept an objective."
    )
    last_run: ReportedRun | None = Field(None, description="The run that ended last.")
    recent_runs: Annotated[list[ReportedRun], Field(max_length=5)] | None = Field(
        None,
        description="The five runs with the newest due times that have ended, newest first, each with the "
        "first line of its error. Those of backfills are left out.",
    )
    trigger: ReportedTrigger | None = Field(
        None, description="What was done about the annotation piko.dev/trigger."
    )
    paused: Handled | None = Field(
        None, description="The value of the annotation piko.dev/paused that the row follows."
    )
    last_handled_reconcile_at: Handled | None = Field(None, description=_RECONCILED)
    row: ReportedRow | None = Field(None, description="The row in the database.")


class ConfigStatus(StatusPart):
    """What the operator has seen."""

    observed_generation: Number | None = Field(
        None, description="The generation that this status speaks of; -1, none yet."
    )
    served_by: str | None = Field(
        None, description="The operator that serves this resource: namespace and name of its Lease."
    )
    conditions: Conditions | None = None
    revision: Number | None = Field(None, description="The revision that holds this config.")
    effective_revision: Number | None = Field(None, description="The revision that runs use now.")
    trigger: ReportedTrigger | None = Field(
        None, description="What was done about the annotation piko.dev/trigger."
    )
    last_handled_reconcile_at: Handled | None = Field(None, description=_RECONCILED)
    row: ReportedRow | None = Field(None, description="The row in the database.")


class ReportedWindows(StatusPart):
    """The windows of a backfill."""

    total: Number | None = None
    done: Number | None = Field(None, description="Those that have succeeded.")
    failed: Number | None = Field(None, description="Those that have not, and have no attempt left.")
    running: Number | None = Field(None, description="Those that run now.")


class BackfillStatus(StatusPart):
    """What the operator has seen."""

    observed_generation: Number | None = Field(
        None, description="The generation that this status speaks of; -1, none yet."
    )
    served_by: str | None = Field(
        None, description="The operator that serves this resource: namespace and name of its Lease."
    )
    phase: Name | None = Field(None, description="Pending, Active, Paused, Succeeded, Failed or Cancelled.")
    backfill_id: str | None = Field(None, description="The backfill in the database, as `piko` names it.")
    conditions: Conditions | None = None
    windows: ReportedWindows | None = None
    start_time: datetime | None = Field(None, description="When the backfill was asked for.")
    completion_time: datetime | None = Field(
        None, description="When its last window ended, or it was cancelled."
    )
    paused: Handled | None = Field(
        None, description="The value of the annotation piko.dev/paused that the backfill follows."
    )
    last_handled_reconcile_at: Handled | None = Field(None, description=_RECONCILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrinterColumn:
    """A column of `kubectl get`; `wide`: of `kubectl get -o wide`."""

    name: str
    type: str = "string"
    path: str
    description: str | None = None
    wide: bool = False


_LAST_COLUMNS = (
    PrinterColumn(
        name="Sync Reason", path=f"{_SYNCED}.reason", description="Why it is synced or not.", wide=True
    ),
    PrinterColumn(name="Reason", path=f"{_READY}.reason", description="Why it is ready or not.", wide=True),
)
_IN_STEP = PrinterColumn(name="Synced", path=f"{_SYNCED}.status", description="Whether its row matches it.")
_FAILURES = PrinterColumn(
    name="Failures",
    type="integer",
    path=".status.consecutiveFailures",
    description="Runs since the last success that failed.",
    wide=True,
)
SCHEDULE_COLUMNS = (
    PrinterColumn(name="Job", path=".spec.jobId"),
    PrinterColumn(
        name="Schedule", path=".status.schedule", description="What the schedule says, in one line."
    ),
    PrinterColumn(name="Zone", path=".spec.timeZone"),
    PrinterColumn(name="Suspended", type="boolean", path=".spec.suspend"),
    _IN_STEP,
    PrinterColumn(name="Ready", path=f"{_READY}.status"),
    PrinterColumn(name="Fresh", path=f"{_FRESH}.status", description="Whether it keeps its objective."),
    PrinterColumn(name="Last State", path=".status.lastRun.state"),
    PrinterColumn(name="Last Run", type="date", path=".status.lastRun.startTime"),
    PrinterColumn(name="Next Run", path=".status.nextRunTime"),
    PrinterColumn(name="Age", type="date", path=".metadata.creationTimestamp"),
    _FAILURES,
    PrinterColumn(
        name="Paused", path=".status.paused", description="The annotation that pauses it.", wide=True
    ),
    *_LAST_COLUMNS,
)
CONFIG_COLUMNS = (
    PrinterColumn(name="Job", path=".spec.jobId"),
    PrinterColumn(name="Revision", type="integer", path=".status.revision"),
    PrinterColumn(
        name="In Force",
        type="integer",
        path=".status.effectiveRevision",
        description="The revision that runs use now.",
    ),
    PrinterColumn(name="Effective From", path=".spec.effectiveFrom"),
    _IN_STEP,
    PrinterColumn(name="Ready", path=f"{_READY}.status"),
    PrinterColumn(name="Age", type="date", path=".metadata.creationTimestamp"),
    *_LAST_COLUMNS,
)
BACKFILL_COLUMNS = (
    PrinterColumn(name="Job", path=".spec.jobId"),
    PrinterColumn(name="Phase", path=".status.phase"),
    PrinterColumn(name="Done", type="integer", path=".status.windows.done"),
    PrinterColumn(name="Failed", type="integer", path=".status.windows.failed"),
    PrinterColumn(name="Windows", type="integer", path=".status.windows.total"),
    PrinterColumn(name="From", path=".spec.from"),
    PrinterColumn(name="To", path=".spec.to"),
    _IN_STEP,
    PrinterColumn(name="Ready", path=f"{_READY}.status"),
    PrinterColumn(name="Age", type="date", path=".metadata.creationTimestamp"),
    PrinterColumn(name="Backfill", path=".status.backfillId", wide=True),
    *_LAST_COLUMNS,
)

"""The status of a PikoBackfill, and the events about it: pure, from its row in `backfill`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from piko.core.types import BackfillState
from piko.model.backfills import Backfill
from piko.text import counted, instant_text
from piko_operator.annotations import pause_message
from piko_operator.backfill_spec import BackfillRangeSpec
from piko_operator.conditions import merge_conditions, outlook
from piko_operator.ownership import Condition, Notice, synced

PENDING = "Pending"
"""The phase of a resource that nothing has been asked for yet."""
_PHASES = {
    BackfillState.ACTIVE: "Active",
    BackfillState.PAUSED: "Paused",
    BackfillState.SUCCEEDED: "Succeeded",
    BackfillState.FAILED: "Failed",
    BackfillState.CANCELLED: "Cancelled",
}
_REASONS = {
    "Succeeded": "BackfillSucceeded",
    "Failed": "BackfillFailed",
    "Cancelled": "BackfillCancelled",
}
"""By the phase in which a backfill ends: the reason of its event."""
_UNDER_WAY = {
    "Active": "its windows run in order, beside scheduled runs, which take precedence",
    "Paused": "spec.suspend: no further window starts",
    "Succeeded": "every window has succeeded",
}


def backfill_id_of(uid: str) -> str:
    """The id of the backfill that the resource of this uid asks for: the same each time."""
    return hashlib.blake2b(uid.encode(), digest_size=16, person=b"piko-backfill").hexdigest()


def was_asked(status: Mapping[str, Any]) -> bool:
    """Whether the status says that a backfill was asked for."""
    return bool(status.get("backfillId"))


def asked(row: Backfill, spec: BackfillRangeSpec) -> Condition:
    """The condition of a resource whose backfill is in the database, with what of its range is not run."""
    start, end = instant_text(row.range_start), instant_text(row.range_end)
    message = f"backfill {row.backfill_id} runs {counted(row.windows_total, 'window')} from {start} to {end}"
    edges = ((spec.start, row.range_start), (row.range_end, spec.end))
    left_out = [f"{instant_text(a)} to {instant_text(b)}" for a, b in edges if a < b]
    if left_out:
        message += f"; left out, because it is no whole window: {' and '.join(left_out)}"
    return synced("True", "Synced", message)


def row_deleted(status: Mapping[str, Any]) -> Condition:
    """The condition of a resource whose row was deleted, which is not asked for again."""
    message = (
        f"the row of backfill {status.get('backfillId')} was deleted from the database, so it does not run; "
        "to run its windows, create another PikoBackfill"
    )
    return synced("False", "RowDeleted", message)


def backfill_status(
    previous: Mapping[str, Any],
    *,
    generation: int,
    paused: str | None = None,
    found: Condition,
    row: Backfill | None,
    running: int,
    now: datetime,
) -> dict[str, Any]:
    """The status of a PikoBackfill.

    - `previous`: its status as it is.
    - `generation`: that of the spec that `found` is about.
    - `paused`: the value of the annotation that pauses it, if there is one.
    - `found`: the condition Synced.
    - `row`: what it has asked for, if it has.
    - `running`: how many of its windows run now.
    - `now`: the time of transitions.
    """
    phase = _phase(previous, found, row)
    conditions = merge_conditions(
        previous.get("conditions"),
        list(_conditions(previous, paused, found, row, phase, now)),
        generation,
        now,
    )
    status: dict[str, Any] = {**previous, "observedGeneration": generation, "conditions": conditions}
    status["paused"] = paused
    status["phase"] = phase
    if row is not None:
        status |= {
            "backfillId": row.backfill_id,
            "windows": {
                "total": row.windows_total,
                "done": row.windows_succeeded,
                "failed": row.windows_failed,
                "running": running,
            },
            "startTime": None if row.created_at is None else instant_text(row.created_at),
            "completionTime": None if row.finished_at is None else instant_text(row.finished_at),
        }
    return {name: value for name, value in status.items() if value is not None}


def backfill_news(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Notice]:
    """The events for the change of a status from `before` to `after`, one for each change of state."""
    return list(_news(_by_type(before), _by_type(after)))


def _phase(previous: Mapping[str, Any], found: Condition, row: Backfill | None) -> str:
    if row is not None:
        return _PHASES[row.state]
    return "Failed" if found.reason == "RowDeleted" else str(previous.get("phase", PENDING))


def _conditions(
    previous: Mapping[str, Any],
    paused: str | None,
    found: Condition,
    row: Backfill | None,
    phase: str,
    now: datetime,
) -> Iterator[Condition]:
    """The conditions of a phase; while nothing can be read, those of its end stay as they are."""
    is_ready = _ready(found, row, phase, paused)
    yield found
    yield is_ready
    if phase in ("Failed", "Cancelled"):
        yield Condition(type="Stalled", status="True", reason=phase, message=is_ready.message)
        yield Condition(type="Reconciling", status="False", reason=phase, message="nothing is in progress")
    elif found.reason == "NotDue":
        message = "no action by a person is needed"
        yield Condition(type="Stalled", status="False", reason="NotDue", message=message)
        yield Condition(type="Reconciling", status="True", reason="NotDue", message=found.message)
    else:
        yield from outlook(found, is_ready, previous=previous.get("conditions"), now=now)
    for kind, holds in (("Complete", phase == "Succeeded"), ("Failed", phase in ("Failed", "Cancelled"))):
        yield Condition(type=kind, status=str(holds), reason=phase, message=is_ready.message)


def _ready(found: Condition, row: Backfill | None, phase: str, paused: str | None) -> Condition:
    if found.status == "Unknown":
        return Condition(type="Ready", status="Unknown", reason=found.reason, message=found.message)
    if phase in ("Failed", "Cancelled"):
        message = found.message if row is None else _why_failed(row)
        return Condition(type="Ready", status="False", reason=phase, message=message)
    if found.status == "False":
        message = "see the condition Synced"
        return Condition(type="Ready", status="False", reason="NotSynced", message=message)
    hindrance = row.message if row is not None and phase == "Active" else None
    if phase == "Paused" and paused is not None:
        hindrance = pause_message(paused)
    return Condition(type="Ready", status="True", reason=phase, message=hindrance or _UNDER_WAY[phase])


def _why_failed(row: Backfill) -> str:
    if row.state is BackfillState.CANCELLED:
        return "it was cancelled; to run its other windows, create another PikoBackfill"
    failed = f"{row.windows_failed} of {counted(row.windows_total, 'window')} failed"
    return f"{failed}: piko runs --backfill {row.backfill_id} --state failed"


def _news(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Notice]:
    was, is_now = before.get("Synced", {}), after["Synced"]
    if is_now["status"] == "True" and was.get("status") != "True":
        yield Notice(type="Normal", reason="BackfillStarted", message=is_now["message"])
    if is_now["status"] == "False" and (was.get("status"), was.get("reason")) != ("False", is_now["reason"]):
        kind = "Normal" if is_now["reason"] == "NotDue" else "Warning"
        yield Notice(type=kind, reason=is_now["reason"], message=is_now["message"])
    for name, kind in (("Complete", "Normal"), ("Failed", "Warning")):
        now = after[name]
        if now["status"] == "True" and before.get(name, {}).get("status") != "True":
            yield Notice(type=kind, reason=_REASONS[now["reason"]], message=now["message"])


def _by_type(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {item["type"]: item for item in status.get("conditions") or []}

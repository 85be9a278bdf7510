"""What one process of the operator reads from a status that another has written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from piko.clock import SystemClock
from piko_operator.inventory import SCHEDULE, Inventory, seen_from
from piko_operator.ownership import IN_STEP, UNKNOWN_DRIFT, Condition, synced
from piko_operator.records import SyncRecord, SyncRecords
from piko_operator.reporting import schedule_status, unknown_status

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_IN_STEP = synced("True", "Synced", "yes")
_EDITED = Condition(type="Drifted", status="True", reason="RowEdited", message="edited")
_WRITTEN = SyncRecord(generation=5, synced=_IN_STEP, drifted=IN_STEP)


def _failed(generation: int) -> SyncRecord:
    return SyncRecord(generation=generation, synced=synced("False", "SecretUnavailable", "no"))


def _status(records: Sequence[SyncRecord]) -> dict[str, Any]:
    status: dict[str, Any] = {"observedGeneration": -1}
    for record in records:
        if record.synced.status == "Unknown":
            status = unknown_status(status, record, now=_NOW)
        else:
            status = schedule_status(status, record, job=None, objective=None, owner="o", now=_NOW)
    return status


@pytest.mark.parametrize(
    ("records", "settled"),
    [
        ([], False),
        ([_WRITTEN], True),
        ([SyncRecord(generation=5, synced=synced("False", "Drifted", "edited"), drifted=_EDITED)], True),
        ([SyncRecord(generation=5, synced=synced("False", "Conflict", "no"), drifted=UNKNOWN_DRIFT)], False),
        ([SyncRecord(generation=4, synced=_IN_STEP, drifted=IN_STEP)], False),
        ([_failed(5)], False),
        ([_WRITTEN, _failed(5)], True),
        ([SyncRecord(generation=4, synced=_IN_STEP, drifted=IN_STEP), _failed(5)], False),
        ([SyncRecord(generation=4, synced=_IN_STEP, drifted=IN_STEP), _failed(5), _failed(5)], False),
        ([SyncRecord(generation=5, synced=synced("Unknown", "DatabaseUnavailable", "away"))], False),
        ([_failed(5), _WRITTEN], True),
    ],
)
def test_a_status_says_whether_the_row_of_its_generation_was_written(
    records: Sequence[SyncRecord], settled: bool
) -> None:
    metadata = {"namespace": "n", "name": "s", "uid": "u", "generation": 5}
    seen = seen_from(
        {"metadata": metadata, "spec": {"jobId": "a"}, "status": _status(records)}, kind=SCHEDULE
    )
    assert SyncRecords(clock=SystemClock(), inventory=Inventory()).is_settled(seen) is settled

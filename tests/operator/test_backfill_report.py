"""What the status of a PikoBackfill says, and which events follow from a change of it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from piko.core.types import BackfillState
from piko.model.backfills import Backfill
from piko_operator.backfill_report import (
    asked,
    backfill_id_of,
    backfill_news,
    backfill_status,
    row_deleted,
)
from piko_operator.backfill_spec import BackfillRangeSpec
from piko_operator.ownership import Condition, synced

_NOW = datetime(2026, 3, 1, tzinfo=UTC)
_START = datetime(2026, 1, 1, tzinfo=UTC)
_ROW = Backfill(
    backfill_id=backfill_id_of("uid"),
    job_id="orders",
    range_start=_START,
    range_end=_START + timedelta(days=3),
    schedule_type="cron",
    schedule_expr='"@daily"',
    timezone="UTC",
    next_start=_START,
    windows_total=3,
    created_at=_NOW,
)
_SPEC = BackfillRangeSpec.model_validate(
    {"jobId": "orders", "from": "2026-01-01T00:00:00Z", "to": "2026-01-04T06:00:00Z"}
)


def _status(found: Condition, row: Backfill | None = None, previous: Any = None) -> dict[str, Any]:
    return backfill_status(previous or {}, generation=2, found=found, row=row, running=1, now=_NOW)


def _conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]}


def test_what_of_the_range_is_no_whole_window_is_named() -> None:
    assert asked(_ROW, _SPEC).message == (
        f"backfill {_ROW.backfill_id} runs 3 windows from 2026-01-01T00:00:00Z to 2026-01-04T00:00:00Z; left "
        "out, because it is no whole window: 2026-01-04T00:00:00Z to 2026-01-04T06:00:00Z"
    )


@pytest.mark.parametrize(
    ("state", "phase", "ready", "stalled", "complete", "failed"),
    [
        (BackfillState.ACTIVE, "Active", "True", False, "False", "False"),
        (BackfillState.PAUSED, "Paused", "True", False, "False", "False"),
        (BackfillState.SUCCEEDED, "Succeeded", "True", False, "True", "False"),
        (BackfillState.FAILED, "Failed", "False", True, "False", "True"),
        (BackfillState.CANCELLED, "Cancelled", "False", True, "False", "True"),
    ],
)
def test_each_state_of_a_backfill_is_a_phase_with_its_conditions(
    state: BackfillState, phase: str, ready: str, stalled: bool, complete: str, failed: str
) -> None:
    row = replace(_ROW, state=state, windows_succeeded=1, windows_failed=1)
    status = _status(asked(row, _SPEC), row)
    assert (status["phase"], status["observedGeneration"]) == (phase, 2)
    assert status["windows"] == {"total": 3, "done": 1, "failed": 1, "running": 1}
    conditions = _conditions(status)
    assert conditions["Ready"] == (ready, phase)
    assert (conditions["Complete"][0], conditions["Failed"][0]) == (complete, failed)
    assert "Reconciling" not in conditions
    assert ("Stalled" in conditions) is stalled


def test_a_range_that_has_not_passed_waits_and_needs_no_person() -> None:
    conditions = _conditions(_status(synced("False", "NotDue", "later")))
    assert conditions["Ready"] == ("False", "NotSynced")
    assert "Stalled" not in conditions
    assert conditions["Reconciling"] == ("True", "NotDue")


def test_a_job_that_may_not_be_claimed_needs_a_person_at_once() -> None:
    assert _conditions(_status(synced("False", "NotAllowed", "no")))["Stalled"] == ("True", "NotAllowed")


def test_a_deleted_row_has_failed_and_keeps_its_progress() -> None:
    before = _status(asked(_ROW, _SPEC), _ROW)
    after = _status(row_deleted(before), previous=before)
    assert (after["phase"], after["backfillId"]) == ("Failed", _ROW.backfill_id)
    assert _conditions(after)["Failed"] == ("True", "Failed")
    assert [notice.reason for notice in backfill_news(before, after)] == ["RowDeleted", "BackfillFailed"]


def test_a_database_that_is_away_turns_nothing_false() -> None:
    conditions = _conditions(_status(synced("Unknown", "DatabaseUnavailable", "away")))
    assert conditions["Ready"] == ("Unknown", "DatabaseUnavailable")
    assert conditions["Stalled"] == ("Unknown", "DatabaseUnavailable")
    assert (conditions["Complete"], conditions["Failed"]) == (("False", "Pending"), ("False", "Pending"))


def test_each_change_of_state_has_one_event() -> None:
    waiting = _status(synced("False", "JobMissing", "no job"))
    active = _status(asked(_ROW, _SPEC), _ROW, waiting)
    more = _status(asked(_ROW, _SPEC), replace(_ROW, windows_succeeded=2), active)
    done_row = replace(_ROW, state=BackfillState.SUCCEEDED, windows_succeeded=3)
    done = _status(asked(_ROW, _SPEC), done_row, more)
    steps = [{}, waiting, waiting, active, more, done]
    found = [
        [(notice.type, notice.reason) for notice in backfill_news(before, after)]
        for before, after in itertools.pairwise(steps)
    ]
    assert found == [
        [("Warning", "JobMissing")],
        [],
        [("Normal", "BackfillStarted")],
        [],
        [("Normal", "BackfillSucceeded")],
    ]

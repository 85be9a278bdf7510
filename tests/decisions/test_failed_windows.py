from __future__ import annotations

from datetime import datetime

import pytest

from piko.core.types import RunState
from piko.decisions.failed_windows import FailedWindows
from piko.model.states import JobState
from tests.scheduler.making import NOON, at, planned

HOURLY = planned("0 * * * *", stateful=True)


def test_a_window_that_failed_waits_for_the_next_instant() -> None:
    failed = FailedWindows()
    failed.note(HOURLY, watermark=at("09:00:00"), now=at("12:20:00"))

    assert "job" in failed
    assert failed.put_off("job", at("10:00:00")) == at("13:00:00")
    assert failed.put_off("job", at("14:00:00")) == at("14:00:00")
    assert failed.put_off("other", at("10:00:00")) == at("10:00:00")
    failed.forget("job")
    assert failed.put_off("job", at("10:00:00")) == at("10:00:00")


def test_a_schedule_without_a_further_instant_has_nothing_to_wait_for() -> None:
    failed = FailedWindows()
    failed.note(
        planned({"run_date": "2026-03-02T11:00:00Z"}, stateful=True, last_data_time=NOON),
        watermark=None,
        now=NOON,
    )

    assert failed.put_off("job", at("13:00:00")) is None


@pytest.mark.parametrize(
    ("state", "scheduled", "waits"),
    [
        (RunState.FAILED, at("12:00:00"), at("13:00:00")),
        (RunState.CANCELLED, at("12:00:00"), at("13:00:00")),
        (RunState.SUCCESS, at("12:00:00"), None),
        (RunState.SKIPPED, at("12:00:00"), None),
        (RunState.FAILED, at("11:00:00"), None),
    ],
)
def test_a_failure_under_an_earlier_leader_is_waited_out(
    state: RunState, scheduled: datetime, waits: datetime | None
) -> None:
    failed = FailedWindows()
    left = JobState(
        job_id="job", last_state=state.value, last_scheduled_time=scheduled, last_started_at=at("12:00:01")
    )
    failed.note_as_left(HOURLY, left, watermark=at("11:00:00"), now=at("12:40:00"))

    assert failed.put_off("job", NOON) == (waits or NOON)

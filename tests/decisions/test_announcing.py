"""What is to be announced follows from what was announced, and from how the job stands now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from piko.core.hooks import HookEvent, JobFailure, JobLateness, JobRecovery
from piko.decisions.announcing import Announced, Announcing, Begins, Ends, event_of, to_announce
from piko.model.announcements import AnnouncedKind, ConcernedJob, LastRun
from piko.model.objectives import JobObjective

_NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
_SINCE = _NOW - timedelta(hours=1)
_FAILING: Announced = {("orders", AnnouncedKind.FAILURE): _SINCE}
_LATE: Announced = {("orders", AnnouncedKind.LATE): _SINCE}


def _job(state: str = "FAILED", *, failures: int = 1, is_retried: bool = False) -> ConcernedJob:
    run = LastRun(
        run_id="r1", state=state, scheduled_time=_SINCE, started_at=_SINCE, finished_at=_SINCE, attempt=1,
        window=None, error_type="KeyError", error="KeyError: 'id'\n  at line 3",
    )  # fmt: skip
    return ConcernedJob(
        job_id="orders", owner="default/orders", failures=failures, is_retried=is_retried, last_run=run,
        last_success_at=None, watermark=None,
    )  # fmt: skip


def _with_objective(last_success_at: datetime | None) -> ConcernedJob:
    objective = JobObjective(
        job_id="orders", schedule_type="cron", schedule_expr='"@hourly"', timezone="UTC", start_at=None,
        end_at=None, enabled=True, stateful=False, data_within_s=600, start_within_s=None,
        finish_within_s=None, created_at=_NOW - timedelta(days=1), last_data_time=None,
        last_success_at=last_success_at, cursor_at=None,
    )  # fmt: skip
    return ConcernedJob(
        job_id="orders", owner=None, failures=0, is_retried=False, last_run=None,
        last_success_at=last_success_at, watermark=None, objective=objective,
    )  # fmt: skip


def _announcing(job: ConcernedJob | None, announced: Announced) -> list[Announcing]:
    return list(to_announce("orders", job, announced, now=_NOW, timezone="UTC"))


def test_a_first_failure_begins_and_a_success_ends_it() -> None:
    (begun,) = _announcing(_job(), {})
    assert isinstance(begun, Begins)
    assert isinstance(begun.value, JobFailure)
    assert event_of(begun.value) is HookEvent.FAILURE
    assert begun.value.text == "orders fails: KeyError: 'id'"
    assert begun.row.since == _SINCE
    (ended,) = _announcing(_job("SUCCESS", failures=0), _FAILING)
    assert isinstance(ended, Ends)
    assert isinstance(ended.value, JobRecovery)
    assert event_of(ended.value) is HookEvent.RECOVERED
    assert (ended.value.recovered_from, ended.value.since) == (HookEvent.FAILURE, _SINCE)


@pytest.mark.parametrize(
    ("job", "announced"),
    [
        (_job(failures=7), _FAILING),
        (_job(is_retried=True), {}),
        (_job("CANCELLED"), {}),
        (_job("CANCELLED"), _FAILING),
        (_job("SUCCESS", failures=0), {}),
        (_with_objective(_NOW - timedelta(minutes=30)), {}),
        (_with_objective(None), _LATE),
        (None, {}),
    ],
)
def test_nothing_is_announced_that_has_not_changed(job: ConcernedJob | None, announced: Announced) -> None:
    assert _announcing(job, announced) == []


def test_a_deadline_that_has_passed_begins_and_a_success_ends_it() -> None:
    (begun,) = _announcing(_with_objective(_NOW - timedelta(hours=2)), {})
    assert isinstance(begun, Begins)
    assert isinstance(begun.value, JobLateness)
    assert event_of(begun.value) is HookEvent.LATE
    assert begun.value.deadline == _NOW - timedelta(minutes=50)
    (ended,) = _announcing(_with_objective(_NOW - timedelta(minutes=30)), _LATE)
    assert isinstance(ended, Ends)
    assert ended.value is not None
    assert ended.value.text == "orders is fresh again"


def test_the_end_of_a_deleted_job_is_not_announced_and_its_rows_go() -> None:
    found = _announcing(None, {**_FAILING, **_LATE})
    assert [(type(item), item.value) for item in found] == [(Ends, None), (Ends, None)]

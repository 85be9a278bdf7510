"""Which deadlines follow from what is promised of a job and how far it has come."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.model.objectives import Deadline, JobObjective, ObjectiveKind, deadlines

_HOURLY = JobObjective(
    job_id="orders",
    schedule_type="cron",
    schedule_expr='"0 * * * *"',
    timezone=None,
    start_at=None,
    end_at=None,
    enabled=True,
    stateful=False,
    data_within_s=None,
    start_within_s=None,
    finish_within_s=None,
    created_at=datetime(2026, 1, 5, tzinfo=UTC),
    last_data_time=None,
    last_success_at=None,
    cursor_at=None,
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-{text}").replace(tzinfo=UTC)


def found(**values: Any) -> dict[str, datetime]:
    return {item.kind.value: item.at for item in deadlines(replace(_HOURLY, **values))}


@pytest.mark.parametrize(
    ("values", "data"),
    [
        pytest.param({}, "05 01:10", id="from the row's creation before any success"),
        pytest.param({"last_success_at": at("07 09:00:04")}, "07 10:10", id="from the last success"),
        pytest.param({"last_success_at": at("01 09:00")}, "05 01:10", id="not from before the row"),
        pytest.param({"stateful": True}, "05 01:10", id="stateful, before any watermark"),
        pytest.param(
            {"stateful": True, "last_data_time": at("02 03:00"), "last_success_at": at("07 09:00")},
            "02 04:10",
            id="from the watermark, wherever it is",
        ),
        pytest.param(
            {"enabled": False, "last_success_at": at("07 09:00:04")}, "07 10:10", id="paused: as before"
        ),
    ],
)
def test_data_is_due_a_while_after_the_next_due_time(values: dict[str, Any], data: str) -> None:
    assert found(data_within_s=600, **values) == {"data": at(data)}


@pytest.mark.parametrize(
    ("values", "start", "finish"),
    [
        pytest.param({}, "05 01:01", "05 01:30", id="nothing has been handled"),
        pytest.param({"cursor_at": at("07 10:00")}, "07 11:01", "07 11:30", id="from the cursor"),
        pytest.param(
            {"cursor_at": at("07 10:00"), "unended_since": at("07 10:00")},
            "07 11:01",
            "07 10:30",
            id="a run in progress has not ended",
        ),
        pytest.param(
            {"cursor_at": at("07 12:00"), "unstarted_since": at("07 11:00"), "unended_since": at("07 10:00")},
            "07 11:01",
            "07 10:30",
            id="a run in the queue has not started",
        ),
        pytest.param({"enabled": False, "cursor_at": at("07 10:00")}, None, None, id="paused"),
        pytest.param(
            {"enabled": False, "unended_since": at("07 10:00")}, None, "07 10:30", id="paused, one goes on"
        ),
    ],
)
def test_start_and_finish_are_due_after_the_first_due_time_without(
    values: dict[str, Any], start: str | None, finish: str | None
) -> None:
    expected = {"start": start, "finish": finish}
    dues = found(start_within_s=60, finish_within_s=1800, **values)
    assert dues == {kind: at(text) for kind, text in expected.items() if text is not None}


def test_the_earliest_deadline_comes_first() -> None:
    both = replace(_HOURLY, data_within_s=600, start_within_s=60)
    assert deadlines(both) == [
        Deadline(kind=ObjectiveKind.START, at=at("05 01:01")),
        Deadline(kind=ObjectiveKind.DATA, at=at("05 01:10")),
    ]


def test_the_zone_of_the_row_goes_before_the_one_that_is_given() -> None:
    daily = replace(_HOURLY, schedule_expr='"0 6 * * *"', data_within_s=60)
    assert deadlines(daily, timezone="Asia/Shanghai")[0].at == at("05 22:01")
    assert deadlines(replace(daily, timezone="UTC"), timezone="Asia/Shanghai")[0].at == at("05 06:01")


def test_a_row_that_cannot_be_scheduled_has_no_deadline() -> None:
    assert found(data_within_s=60, schedule_expr="nonsense") == {}


_FROM, _TO = datetime.fromisoformat("2025-12-01"), datetime.fromisoformat("2026-03-01")
_instants = st.datetimes(_FROM, _TO, timezones=st.just(UTC))


@given(now=_instants.filter(lambda moment: moment.weekday() >= 5), hours=st.floats(0.1, 47.9))
def test_a_weekday_schedule_that_has_kept_up_is_silent_at_the_weekend(now: datetime, hours: float) -> None:
    friday = now.replace(hour=6, minute=0, second=0, microsecond=0) - timedelta(days=now.weekday() - 4)
    (deadline,) = deadlines(
        replace(
            _HOURLY,
            schedule_expr='"0 6 * * mon-fri"',
            created_at=datetime(2025, 1, 1, tzinfo=UTC),
            last_success_at=friday,
            data_within_s=3600 * hours,
        )
    )
    assert deadline.at > now


@given(success=_instants, failures=st.lists(_instants, max_size=5))
def test_only_progress_moves_the_deadline_of_data(success: datetime, failures: list[datetime]) -> None:
    """The due times that were handled, and the runs that are open, do not."""
    plain = replace(_HOURLY, data_within_s=600, last_success_at=success)
    tried = [replace(plain, cursor_at=moment, unended_since=moment) for moment in failures]
    assert all(deadlines(item) == deadlines(plain) for item in tried)

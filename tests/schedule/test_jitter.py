"""Jitter: bounded, spread, and the same on every replica."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.errors import ScheduleError
from piko.schedule import (
    jitter_warning,
    start_offset,
)
from tests.schedule.making import (
    schedule,
    starts,
    utc,
)


@given(job=st.text(max_size=20), when=starts, jitter=st.floats(0, 86_400))
@settings(max_examples=100)
def test_jitter_is_within_its_bound_and_the_same_everywhere(job: str, when: datetime, jitter: float) -> None:
    offset = start_offset(job_id=job, scheduled_time=when, jitter_s=jitter)
    assert timedelta(0) <= offset <= timedelta(seconds=jitter)
    local = when.astimezone(ZoneInfo("Asia/Shanghai"))
    assert start_offset(job_id=job, scheduled_time=local, jitter_s=jitter) == offset


def test_jitter_spreads_jobs_and_runs() -> None:
    def offsets(jobs: list[str], minutes: int) -> list[float]:
        times = [utc("2026-01-01") + timedelta(minutes=n) for n in range(minutes)]
        found = [start_offset(job_id=j, scheduled_time=t, jitter_s=60) for j in jobs for t in times]
        return [offset.total_seconds() for offset in found]

    for spread in (offsets([f"job-{n}" for n in range(1000)], 1), offsets(["job"], 1000)):
        assert all(any(low <= offset < low + 6 for offset in spread) for low in range(0, 60, 6))
        assert 27 < sum(spread) / len(spread) < 33


@pytest.mark.parametrize("jitter", [-1.0, 86_401.0, float("nan"), float("inf")])
def test_a_jitter_out_of_range_is_refused(jitter: float) -> None:
    with pytest.raises(ScheduleError, match="jitter_s"):
        start_offset(job_id="job", scheduled_time=utc("2026-01-01"), jitter_s=jitter)


@pytest.mark.parametrize(
    ("kind", "expression", "jitter_s", "warned"),
    [
        ("interval", {"seconds": 60}, 120.0, "60 s"),
        ("interval", {"seconds": 60}, 60.0, None),
        ("interval", {"seconds": 0.5}, 0.6, "0.5 s"),
        ("cron", "* * * * *", 61.0, "60 s"),
        ("cron", "0,1 * * * *", 120.0, "60 s"),
        ("cron", "0 3 * * *", 3600.0, None),
        ("cron", "0 3 * * *", 86_400.0, None),
        ("date", {"run_date": "2030-01-01"}, 86_400.0, None),
    ],
)
def test_a_jitter_that_mixes_up_instants_is_warned_of_where_they_are_coalesced(
    kind: str, expression: object, jitter_s: float, warned: str | None
) -> None:
    made, since = schedule(kind, expression), utc("2026-03-02 12:00")
    found = jitter_warning(made, jitter_s=jitter_s, coalesce=True, since=since)

    assert (found is None) == (warned is None)
    assert warned is None or f"longer than the {warned} between instants" in str(found)
    assert jitter_warning(made, jitter_s=jitter_s, coalesce=False, since=since) is None


def test_a_jitter_that_mixes_up_a_multitude_is_refused() -> None:
    made, since = schedule("interval", {"seconds": 0.1}), utc("2026-03-02 12:00")
    with pytest.raises(ScheduleError, match="is more than 1000 times the 0"):
        jitter_warning(made, jitter_s=86_400.0, coalesce=True, since=since)
    assert jitter_warning(made, jitter_s=86_400.0, coalesce=False, since=since) is None

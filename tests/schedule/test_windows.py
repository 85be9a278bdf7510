"""Windows: they meet, they end at instants, and the first one is full."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from piko.core.types import DataInterval
from piko.schedule import (
    latest_window,
    missing_windows,
    window_ending_at,
)
from tests.schedule.making import (
    cron,
    cron_forms,
    interval_forms,
    made_or_rejected,
    schedule,
    starts,
    take,
    utc,
    zones,
)


@given(form=st.one_of(cron_forms, interval_forms), zone=zones, watermark=starts)
@settings(max_examples=150)
def test_windows_meet_and_end_at_instants(form: tuple[str, Any], zone: str, watermark: datetime) -> None:
    made = made_or_rejected(form, zone)
    instants = take(made, 5, after=watermark)
    assume(instants)
    windows = list(missing_windows(made, watermark=watermark, now=instants[-1]))
    assert [window.end for window in windows] == instants
    assert [window.start for window in windows] == [watermark, *instants[:-1]]
    last = latest_window(made, now=instants[-1])
    if len(instants) > 1:
        assert last == windows[-1] == window_ending_at(made, instants[-1])


def test_a_watermark_in_the_future_has_no_window() -> None:
    hourly = cron("0 * * * *")
    assert list(missing_windows(hourly, watermark=utc("2026-01-02"), now=utc("2026-01-01"))) == []


def test_a_watermark_at_an_instant_does_not_run_it_again() -> None:
    hourly = cron("0 * * * *")
    windows = list(missing_windows(hourly, watermark=utc("2026-01-01 01:00"), now=utc("2026-01-01 03:59")))
    assert windows == [
        DataInterval(utc("2026-01-01 01:00"), utc("2026-01-01 02:00")),
        DataInterval(utc("2026-01-01 02:00"), utc("2026-01-01 03:00")),
    ]


def test_many_missing_windows_are_worked_out_one_by_one() -> None:
    each_second = cron("* * * * * *")
    windows = missing_windows(each_second, watermark=utc("1970-01-01"), now=utc("2026-01-01"))
    assert next(windows).end == utc("1970-01-01 00:00:01")


def test_the_window_of_the_first_instant_reaches_back_beyond_the_bound() -> None:
    hourly = cron("0 * * * *", start_at=utc("2026-01-01 05:00"))
    assert latest_window(hourly, now=utc("2026-01-01 04:59")) is None
    assert latest_window(hourly, now=utc("2026-01-01 05:30")) == DataInterval(
        utc("2026-01-01 04:00"), utc("2026-01-01 05:00")
    )


def test_a_date_has_no_full_window_of_its_own() -> None:
    once = schedule("date", {"run_date": "2026-01-01"})
    assert latest_window(once, now=utc("2026-06-01")) is None
    assert list(missing_windows(once, watermark=utc("2025-12-01"), now=utc("2026-06-01"))) == [
        DataInterval(utc("2025-12-01"), utc("2026-01-01"))
    ]

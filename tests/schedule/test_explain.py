"""Explanations: the sentence, the instants with local time, the remarks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from piko.schedule import explain, why_silent
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

NOW = utc("2026-01-01 12:00")


@pytest.mark.parametrize(
    ("kind", "expression", "sentence"),
    [
        ("cron", "* * * * *", "Every minute, UTC."),
        ("cron", "* * * * * *", "Every second, UTC."),
        ("cron", "*/10 * * * * *", "Every 10 seconds, UTC."),
        ("cron", "*/5 * * * *", "Every 5 minutes, UTC."),
        ("cron", "0 * * * *", "At minute 0 of every hour, UTC."),
        ("cron", {"minute": 0}, "At minute 0 of every hour, UTC."),
        ("cron", "0 */2 * * *", "At minute 0 of every 2nd hour, UTC."),
        ("cron", "30 2 * * *", "At 02:30, UTC."),
        ("cron", "5 30 2 * * *", "At 02:30:05, UTC."),
        ("cron", "0,30 2 * * *", "At 02:00 and 02:30, UTC."),
        ("cron", "*/15 9-17 * * mon-fri", "Every 15 minutes in the hours 9 to 17 on Monday to Friday, UTC."),
        ("cron", "0 9-17 * * *", "At minute 0 of the hours 9 to 17, UTC."),
        ("cron", "0 0 L * *", "At 00:00 on the last day of the month, UTC."),
        ("cron", "0 0 15W * *", "At 00:00 on the weekday nearest to day 15, UTC."),
        ("cron", "0 0 * * 5#2", "At 00:00 on the second Friday of the month, UTC."),
        ("cron", "0 0 13 * 5", "At 00:00 on day 13 of the month or on Friday, UTC."),
        ("cron", {"day": 13, "day_of_week": 4}, "At 00:00 on day 13 of the month, and only on Friday, UTC."),
        ("cron", "0 0 1 jan,mar-may *", "At 00:00 on day 1 of the month in January and March to May, UTC."),
        ("cron", {"week": 10}, "At 00:00 in ISO week 10, UTC."),
        (
            "cron",
            {"year": "2027-2029", "month": 6},
            "At 00:00 on day 1 of the month in June in 2027 to 2029, UTC.",
        ),
        ("interval", {"seconds": 10}, "Every 10 seconds, on the grid of 1970-01-01T00:00:00Z."),
        ("interval", {"every": "1h30m"}, "Every 1 hour 30 minutes, on the grid of 1970-01-01T00:00:00Z."),
        ("interval", {"every": "500ms"}, "Every 0.5 seconds, on the grid of 1970-01-01T00:00:00Z."),
        ("date", {"run_date": "2026-06-01"}, "Once, at 2026-06-01 00:00:00 in UTC (2026-06-01T00:00:00Z)."),
    ],
)
def test_a_schedule_in_a_sentence(kind: str, expression: Any, sentence: str) -> None:
    assert explain(schedule(kind, expression), now=NOW).sentence == sentence


def test_bounds_are_in_the_sentence() -> None:
    bounded = cron("0 * * * *", start_at=utc("2026-01-01"), end_at=utc("2027-01-01"))
    assert explain(bounded, now=NOW).sentence == (
        "At minute 0 of every hour, UTC, from 2026-01-01T00:00:00Z, until 2027-01-01T00:00:00Z."
    )


def test_instants_come_with_local_time() -> None:
    explained = explain(cron("30 2 * * *", "Europe/Berlin"), now=utc("2026-03-28 12:00"), count=2)
    assert [i.instant.isoformat() for i in explained.instants] == [
        "2026-03-29T01:00:00+00:00",
        "2026-03-30T00:30:00+00:00",
    ]
    assert [i.local.isoformat() for i in explained.instants] == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


_SPRING = "On 2026-03-29 clocks in Europe/Berlin go forward from 02:00 to 03:00: what is due between"
_ELAPSED = "An interval counts elapsed time: the time of day in Europe/Berlin moves when the clocks change."
_AUTUMN = "On 2026-10-25 clocks in Europe/Berlin go back from 03:00 to 02:00: what is due between"


@pytest.mark.parametrize(
    ("kind", "expression", "zone", "remarks"),
    [
        (
            "cron",
            "30 2 * * *",
            "Europe/Berlin",
            [f"{_SPRING} comes at 03:00.", f"{_AUTUMN} comes once, in the first pass."],
        ),
        (
            "cron",
            "30 * * * *",
            "Europe/Berlin",
            [f"{_SPRING} is skipped.", f"{_AUTUMN} comes in both passes."],
        ),
        ("cron", "30 4 * * *", "Europe/Berlin", []),
        ("cron", "30 2 * * mon", "Europe/Berlin", []),
        ("cron", "30 2 * * *", "Asia/Shanghai", []),
        (
            "interval",
            {"days": 1},
            "Europe/Berlin",
            [_ELAPSED],
        ),
        ("interval", {"seconds": 10}, "Europe/Berlin", []),
        ("interval", {"days": 1}, "UTC", []),
        (
            "cron",
            "0 0 13 * 5",
            "UTC",
            [
                "A day that matches day of month or day of week will do; "
                "begin one of the two with * to ask for both."
            ],
        ),
        ("cron", "0 0 31 * *", "UTC", ["Not every month has such a day; months without one are skipped."]),
        ("cron", "0 0 29 2 *", "UTC", ["Not every month has such a day; months without one are skipped."]),
        ("cron", "0 0 31 1,3 *", "UTC", []),
        ("cron", "0 0 * * 5#5", "UTC", ["Not every month has such a day; months without one are skipped."]),
        (
            "cron",
            "*/7 * * * *",
            "UTC",
            ["The steps of 7 minutes start again each hour: from minute 56 to minute 0 it is 4."],
        ),
        ("cron", "0-20/10 * * * *", "UTC", []),
        (
            "date",
            {"run_date": "2025-01-01"},
            "UTC",
            ["It never fires after 2026-01-01T12:00:00Z; its last instant was 2025-01-01T00:00:00Z."],
        ),
    ],
)
def test_what_may_surprise_is_remarked(kind: str, expression: Any, zone: str, remarks: list[str]) -> None:
    assert list(explain(schedule(kind, expression, zone), now=NOW).remarks) == remarks


def test_a_year_that_is_over_says_so() -> None:
    over = cron({"year": 2020, "month": 12})
    assert why_silent(over, after=NOW) == (
        "it never fires after 2026-01-01T12:00:00Z; its last instant was 2020-12-01T00:00:00Z"
    )
    assert why_silent(over, after=utc("2020-01-01")) is None
    assert explain(over, now=NOW).instants == ()


@given(form=cron_forms | interval_forms, zone=zones, now=starts)
@settings(max_examples=200)
def test_everything_can_be_explained(form: tuple[str, Any], zone: str, now: Any) -> None:
    made = made_or_rejected(form, zone)
    explained = explain(made, now=now, count=3)
    assert explained.sentence[0].isupper()
    assert explained.sentence.endswith(".")
    assert [i.instant for i in explained.instants] == take(made, 3, after=now)
    assert all(i.local == i.instant.astimezone(made.zone) for i in explained.instants)

"""What holds for every schedule: the three ways to ask agree, and bounds bound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.schedule.making import (
    MICROSECOND,
    cron,
    cron_forms,
    cron_strings,
    date_forms,
    interval_forms,
    made_or_rejected,
    schedule,
    starts,
    take,
    utc,
    zones,
)


@given(form=st.one_of(cron_forms, interval_forms, date_forms), zone=zones, start=starts)
@settings(max_examples=400)
def test_next_latest_and_between_agree(form: tuple[str, Any], zone: str, start: datetime) -> None:
    made = made_or_rejected(form, zone)
    instants = take(made, 6, after=start)
    assert instants == sorted(set(instants))
    asked = start
    for instant in instants:
        assert instant.tzinfo is UTC
        assert made.next_after(asked) == instant
        assert made.latest_at(instant) == instant
        assert made.next_after(instant - MICROSECOND) == instant
        if asked != start:
            assert made.latest_at(instant - MICROSECOND) == asked
        asked = instant
    if instants:
        assert list(made.between(start, instants[-1])) == instants
        assert list(made.between(start, instants[-1] - MICROSECOND)) == instants[:-1]
        before = made.latest_at(instants[0] - MICROSECOND)
        assert before is None or before <= start


@given(
    form=st.one_of(cron_forms, interval_forms),
    zone=zones,
    start=starts,
    length=st.timedeltas(timedelta(0), timedelta(9)),
)
@settings(max_examples=150)
def test_bounds_only_cut(form: tuple[str, Any], zone: str, start: datetime, length: timedelta) -> None:
    free = made_or_rejected(form, zone)
    end = start + length
    within = list(islice(free.between(start - MICROSECOND, end), 500))
    assume(within)
    bounded = made_or_rejected(form, zone, start_at=start, end_at=end)
    assert list(islice(bounded.between(utc("1970-01-01"), utc("9999-01-01")), 500)) == within
    assert bounded.latest_at(start - MICROSECOND) is None
    assert bounded.latest_at(utc("9999-01-01")) == free.latest_at(end)
    assert bounded.next_after(end) is None


# ---- the ends of time ----


@pytest.mark.parametrize(
    "zone", ["UTC", "Pacific/Kiritimati", "America/New_York", "Europe/Berlin", "Etc/GMT+12"]
)
@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        ("cron", "* * * * *"),
        ("cron", "* * * * * *"),
        ("cron", "59 23 31 12 *"),
        ("cron", "0 0 1 1 *"),
        ("cron", {"year": 9999}),
        ("cron", {"year": "*/2", "week": 53, "second": 59}),
        ("interval", {"days": 36_500}),
        ("interval", {"seconds": 0.1}),
    ],
)
def test_the_years_1970_and_9999_raise_nothing(kind: str, expression: Any, zone: str) -> None:
    made = schedule(kind, expression, zone)
    ends = [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)]
    ends += [datetime.max.replace(tzinfo=timezone(-timedelta(hours=23)))]
    ends += [datetime.min.replace(tzinfo=timezone(timedelta(hours=23)))]
    ends += [utc("9999-12-31 12:00"), utc("9999-12-30"), utc("1970-01-01"), utc("1969-12-31")]
    for at in ends:
        after, latest = made.next_after(at), made.latest_at(at)
        assert after is None or (after > at and 1970 <= after.year <= 9999)
        assert latest is None or (latest <= at and 1970 <= latest.year <= 9999)
        for near in (at, after, latest):
            if near is not None:
                assert len(list(islice(made.between(near, ends[0]), 3))) <= 3
    assert made.next_after(ends[0]) is None
    assert made.latest_at(ends[1]) is None


def test_a_naive_instant_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError):
        cron("* * * * *").next_after(datetime(2026, 1, 1))  # noqa: DTZ001 this is the point


# ---- fingerprints ----

_SAME = [
    (("cron", "0 * * * *"), ("cron", {"cron": "0  *  * * *"})),
    (("cron", "0 * * * *"), ("cron", {"minute": 0})),
    (("cron", "30 2 * * *"), ("cron", {"hour": 2, "minute": 30})),
    (("cron", "0 0 * * mon"), ("cron", "0 0 * * 1")),
    (("cron", "0 0 * * mon"), ("cron", {"day_of_week": 0})),
    (("cron", "@daily"), ("cron", "0 0 0 * * *")),
    (("cron", "*/15 * * * *"), ("cron", "0-59/15 * * * *")),
    (("interval", {"minutes": 1}), ("interval", {"every": "60s"})),
    (("date", {"run_date": "2026-01-01"}), ("date", {"run_date": "2026-01-01T00:00:00Z"})),
]
_DIFFERENT = [
    (("cron", "0 * * * *"), ("cron", "1 * * * *")),
    (("cron", "0 0 13 * 5"), ("cron", {"day": 13, "day_of_week": "fri"})),
    (("interval", {"seconds": 60}), ("interval", {"seconds": 60, "start_date": "2026-01-01 00:00:30"})),
    (("interval", {"seconds": 60}), ("interval", {"seconds": 61})),
    (("date", {"run_date": "2026-01-01"}), ("date", {"run_date": "2026-01-02"})),
]


@pytest.mark.parametrize(("one", "other"), _SAME)
def test_the_same_instants_have_one_fingerprint(one: tuple[str, Any], other: tuple[str, Any]) -> None:
    assert schedule(*one).fingerprint == schedule(*other).fingerprint


@pytest.mark.parametrize(("one", "other"), _DIFFERENT)
def test_other_instants_have_another_fingerprint(one: tuple[str, Any], other: tuple[str, Any]) -> None:
    assert schedule(*one).fingerprint != schedule(*other).fingerprint


def test_zone_bounds_and_job_are_in_the_fingerprint_where_they_count() -> None:
    base = cron("0 2 * * *").fingerprint
    assert cron("0 2 * * *", "Europe/Berlin").fingerprint != base
    assert cron("0 2 * * *", start_at=utc("2026-01-01")).fingerprint != base
    assert cron("0 2 * * *", job_id="other").fingerprint == base
    assert len({cron("H H * * *", job_id=f"job-{n}").fingerprint for n in range(20)}) > 1
    grid = schedule("interval", {"seconds": 60}).fingerprint
    assert schedule("interval", {"seconds": 60}, "Europe/Berlin").fingerprint == grid


@given(text=cron_strings(), zone=zones)
@settings(max_examples=50)
def test_a_fingerprint_is_short_and_stays(text: str, zone: str) -> None:
    made = made_or_rejected(("cron", text), zone)
    assert made.fingerprint == made_or_rejected(("cron", text), zone).fingerprint
    assert len(made.fingerprint) <= 64
    assert int(made.fingerprint, 16) >= 0


def test_the_zone_is_where_the_hour_is() -> None:
    (instant,) = take(cron("0 9 * * *", "Asia/Shanghai"), 1, after=utc("2026-01-01 12:00"))
    assert instant.astimezone(ZoneInfo("Asia/Shanghai")).hour == 9

"""Rows that hold no schedule: one error class, a message to act on, bounded time."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.errors import ScheduleError
from piko.schedule import (
    parse_schedule,
)
from piko.schedule.cron_string import parse_cron_string
from piko.schedule.triggers import ElapsedCron, FixedCron
from tests.schedule.making import (
    cron,
    take,
    utc,
)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("cron", '"5 2 * * thu"'),
        ("cron", '{"month": 3, "hour": 2}'),
        ("interval", '{"every": "1h30m"}'),
        ("date", '{"run_date": "2031-01-08"}'),
    ],
)
def test_rows_that_say_the_same_share_one_schedule(kind: str, text: str) -> None:
    one, other = (
        parse_schedule(job_id=job_id, schedule_type=kind, schedule_expr=text, timezone="Asia/Shanghai")
        for job_id in ("one", "other")
    )
    assert one is other


@pytest.mark.parametrize(
    "text",
    [
        '"H * * * *"', '"h h * * *"', '"H/15 * * * *"', '"H(0-29) 3 * * *"', '{"cron": "H H * * *"}',
        '"\\u0048 * * * *"', '"\\tH * * * *"', '"* * * * *"', '"@hourly"', '"0 3 * mar thu"',
    ],
)  # fmt: skip
@given(job_ids=st.lists(st.text("abc-", min_size=1, max_size=4), min_size=1, max_size=6))
@settings(deadline=None)
def test_whatever_was_parsed_before_a_hash_is_that_of_the_job(text: str, job_ids: list[str]) -> None:
    for job_id in job_ids:
        schedule = parse_schedule(job_id=job_id, schedule_type="cron", schedule_expr=text, timezone="UTC")
        hashed = parse_cron_string(_cron_of(text), job_id=job_id)
        assert schedule.trigger == (FixedCron if hashed[1] else ElapsedCron)(hashed[0], schedule.zone)


def _cron_of(text: str) -> str:
    found = json.loads(text)
    return str(found["cron"]) if isinstance(found, dict) else str(found)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("cron", "", "is empty"),
        ("cron", "  ", "is empty"),
        ("cron", "null", "is null"),
        ("cron", "true", "is true or false"),
        ("cron", "5", "is a number"),
        ("cron", "[]", "is an array"),
        ("interval", "10", "is a number"),
        ("interval", '"10s"', "is a text"),
        ("cron", "*/5 * * * *", "put a cron string in double quotes"),
        ("interval", "{seconds: 10}", "is not JSON"),
        ("interval", '{"seconds": NaN}', "is not a number"),
        ("interval", '{"seconds": 1e99999999999999999999999}', "too large a number"),
        ("interval", '{"seconds": 1, "seconds": 2}', "is given twice"),
        ("cron", "[" * 3000, "nested too deeply"),
        ("cron", '"' + "*" * 5000 + '"', "has 5002 characters"),
        ("weekly", "{}", "schedule_type = 'weekly'"),
        ("", "{}", "schedule_type = ''"),
    ],
)
def test_a_row_that_is_no_schedule_is_refused(kind: str, text: str, message: str) -> None:
    with pytest.raises(ScheduleError) as raised:
        parse_schedule(job_id="job", schedule_type=kind, schedule_expr=text, timezone="UTC")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        ("Asia/Shanghia", "did you mean Asia/Shanghai?"),
        ("europe/berlin ", "did you mean Europe/Berlin?"),
        ("Mars/Olympus", "timezone = 'Mars/Olympus': is not a known time zone"),
        ("Europe", "is not a known time zone"),
        ("", "is not a known time zone"),
        ("../../etc/passwd", "is not a known time zone"),
        ("UTC\0", "is not a known time zone"),
        ("localtime", "is not a known time zone"),
        ("right/Europe/Berlin", "is not a known time zone"),
        ("A" * 1000, "is not a known time zone"),
        ("+08:00", "is not a known time zone"),
    ],
)
def test_an_unknown_zone_is_refused(zone: str, message: str) -> None:
    with pytest.raises(ScheduleError) as raised:
        cron("* * * * *", zone)
    assert message in str(raised.value)


def test_bounds_must_be_aware_and_in_order() -> None:
    with pytest.raises(ScheduleError, match="start_at = 2026-01-01 00:00:00: has no zone"):
        cron("* * * * *", start_at=datetime(2026, 1, 1))  # noqa: DTZ001 this is the point
    with pytest.raises(ScheduleError, match="its end lies before its start"):
        cron("* * * * *", start_at=utc("2026-01-02"), end_at=utc("2026-01-01"))


# ---- anything at all ----

_KEYS = st.sampled_from(
    [
        *("cron", "year", "month", "day", "week", "day_of_week", "hour", "minute", "second", "run_date", "x"),
        *("weeks", "days", "hours", "minutes", "seconds", "every", "start_date", "end_date"),
    ]
)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=6,
)
_CRONLIKE = st.text("0123456789 */-,?#LWHRlwhr()@adnosumtfeb.\t\n", max_size=40)
_TEXTS = st.one_of(
    st.text(max_size=60),
    _CRONLIKE.map(json.dumps),
    st.lists(_CRONLIKE, min_size=5, max_size=6).map(lambda parts: json.dumps(" ".join(parts))),
    _JSON.map(json.dumps),
    st.dictionaries(_KEYS, st.one_of(_CRONLIKE, st.integers(), st.floats()), max_size=3).map(json.dumps),
)


@given(
    kind=st.one_of(st.sampled_from(["cron", "interval", "date"]), st.text(max_size=5)),
    text=_TEXTS,
    zone=st.one_of(st.just("Europe/Berlin"), st.text(max_size=10)),
)
@settings(max_examples=1500)
def test_whatever_a_row_holds_only_a_schedule_error_comes_out(kind: str, text: str, zone: str) -> None:
    try:
        made = parse_schedule(job_id="job", schedule_type=kind, schedule_expr=text, timezone=zone)
    except ScheduleError as error:
        message = str(error)
    else:
        message = ""
        instants = take(made, 3, after=utc("2026-01-01"))
        assert instants == sorted(instants)
    assert len(message) < 700

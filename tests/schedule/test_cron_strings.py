"""Cron strings: the grammar by table, the instants against cronsim."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given, settings

from piko.errors import ScheduleError
from tests.schedule.making import MICROSECOND, cron, cron_strings, starts, take, utc


def _times(expression: str, *, after: str, count: int = 3) -> list[str]:
    return [f"{i:%m-%d %H:%M:%S}" for i in take(cron(expression), count, after=utc(after))]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # 2026-01-01 is a Thursday
        ("*/20 * * * *", ["01-01 00:20:00", "01-01 00:40:00", "01-01 01:00:00"]),
        ("30 2 * * *", ["01-01 02:30:00", "01-02 02:30:00", "01-03 02:30:00"]),
        ("*/20 * * * * *", ["01-01 00:00:20", "01-01 00:00:40", "01-01 00:01:00"]),
        ("5 30 2 * * *", ["01-01 02:30:05", "01-02 02:30:05", "01-03 02:30:05"]),
        ("0 0 * * mon-fri", ["01-02 00:00:00", "01-05 00:00:00", "01-06 00:00:00"]),
        ("0 0 * * MON,Wed", ["01-05 00:00:00", "01-07 00:00:00", "01-12 00:00:00"]),
        ("0 0 * * 0", ["01-04 00:00:00", "01-11 00:00:00", "01-18 00:00:00"]),
        ("0 0 * * 7", ["01-04 00:00:00", "01-11 00:00:00", "01-18 00:00:00"]),
        ("0 0 1 feb-mar *", ["02-01 00:00:00", "03-01 00:00:00", "02-01 00:00:00"]),
        ("@hourly", ["01-01 01:00:00", "01-01 02:00:00", "01-01 03:00:00"]),
        ("@daily", ["01-02 00:00:00", "01-03 00:00:00", "01-04 00:00:00"]),
        ("@Midnight", ["01-02 00:00:00", "01-03 00:00:00", "01-04 00:00:00"]),
        ("@weekly", ["01-04 00:00:00", "01-11 00:00:00", "01-18 00:00:00"]),
        ("@monthly", ["02-01 00:00:00", "03-01 00:00:00", "04-01 00:00:00"]),
        ("@yearly", ["01-01 00:00:00", "01-01 00:00:00", "01-01 00:00:00"]),
        ("@annually", ["01-01 00:00:00", "01-01 00:00:00", "01-01 00:00:00"]),
        ("0 0 L * *", ["01-31 00:00:00", "02-28 00:00:00", "03-31 00:00:00"]),
        ("0 0 10,L * *", ["01-10 00:00:00", "01-31 00:00:00", "02-10 00:00:00"]),
        ("0 0 * * 5#2", ["01-09 00:00:00", "02-13 00:00:00", "03-13 00:00:00"]),
        ("0 0 * * L5", ["01-30 00:00:00", "02-27 00:00:00", "03-27 00:00:00"]),
        ("0 0 * * 5L", ["01-30 00:00:00", "02-27 00:00:00", "03-27 00:00:00"]),
        ("0 0 * * 1,5#2", ["01-05 00:00:00", "01-09 00:00:00", "01-12 00:00:00"]),
        ("0 0 15W * *", ["01-15 00:00:00", "02-16 00:00:00", "03-16 00:00:00"]),
        ("0 0 31W 5-10 *", ["05-29 00:00:00", "06-30 00:00:00", "07-31 00:00:00"]),
        ("0 0 W1 * *", ["02-02 00:00:00", "03-02 00:00:00", "04-01 00:00:00"]),
        ("0 0 ? * 1", ["01-05 00:00:00", "01-12 00:00:00", "01-19 00:00:00"]),
        # either of the two days will do, unless one begins with a star: then both must match
        ("0 0 13 * 5", ["01-02 00:00:00", "01-09 00:00:00", "01-13 00:00:00"]),
        ("0 0 */6 * 5", ["02-13 00:00:00", "03-13 00:00:00", "05-01 00:00:00"]),
        ("0 0 13 * */2", ["01-13 00:00:00", "06-13 00:00:00", "08-13 00:00:00"]),
        ("0 0 L * 5#1", ["01-02 00:00:00", "01-31 00:00:00", "02-06 00:00:00"]),
        ("0 0 15W * 5#1", ["01-02 00:00:00", "01-15 00:00:00", "02-06 00:00:00"]),
        # one value, written as a range or with a step that leads out
        ("5-5 0 * * *", ["01-01 00:05:00", "01-02 00:05:00", "01-03 00:05:00"]),
        ("59/15 0 * * *", ["01-01 00:59:00", "01-02 00:59:00", "01-03 00:59:00"]),
        # ranges that go round
        ("0 22-1 * * *", ["01-01 01:00:00", "01-01 22:00:00", "01-01 23:00:00"]),
        ("0 0 * * fri-sun", ["01-02 00:00:00", "01-03 00:00:00", "01-04 00:00:00"]),
        ("0 0 * * sat-mon", ["01-03 00:00:00", "01-04 00:00:00", "01-05 00:00:00"]),
        ("0 0 29 2 *", ["02-29 00:00:00", "02-29 00:00:00", "02-29 00:00:00"]),
        ("  0   0\t* * *  ", ["01-02 00:00:00", "01-03 00:00:00", "01-04 00:00:00"]),
    ],
)
def test_an_expression_means_these_instants(expression: str, expected: list[str]) -> None:
    assert _times(expression, after="2026-01-01") == expected


def test_both_forms_of_a_cron_string_are_the_same_schedule() -> None:
    assert cron("*/5 * * * *").fingerprint == cron({"cron": "*/5 * * * *"}).fingerprint


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("61 * * * *", "minute (at character 1) = '61'"),
        ("  0  24 * * *", "hour (at character 6) = '24'"),
        ("0 1,2,24 * * *", "hour (at character 7) = '24'"),
        ("0 0 32 * *", "day of month (at character 5) = '32'"),
        ("0 0 0 * *", "day of month (at character 5) = '0'"),
        ("0 0 * foo *", "month (at character 7) = 'foo'"),
        ("0 0 * * mon,,tue", "day of week (at character 13) = ''"),
        ("0 0 * * 8", "day of week (at character 9) = '8'"),
        ("60 0 0 * * *", "second (at character 1) = '60'"),
        ("*/0 * * * *", "minute (at character 1) = '*/0'"),
        ("-5 * * * *", "minute (at character 1) = '-5'"),
        ("1.5 * * * *", "minute (at character 1) = '1.5'"),
        ("? * * * *", "minute (at character 1) = '?'"),
        ("0 0 ?,1 * *", "day of month (at character 5) = '?'"),
        ("0 0 * * 1#6", "day of week (at character 9) = '1#6'"),
        ("0 0 LW * *", "day of month (at character 5) = 'LW'"),
        ("0 0 32W * *", "day of month (at character 5) = '32W'"),
        ("R * * * *", "write H, which is spread by job"),
        ("H/0 * * * *", "minute (at character 1) = 'H/0'"),
        ("H(5-5) * * * *", "minute (at character 1) = 'H(5-5)'"),
        ("0 H(0-30) * * *", "hour (at character 3) = 'H(0-30)'"),
        ("H,5 * * * *", "minute (at character 1) = 'H'"),
        ("* * * *", "has 4 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("", "is empty"),
        ("   ", "is empty"),
        ("@reboot", "is not a known name"),
        ("@every 5m", 'use schedule_type "interval"'),
        ("٣ * * * *", "minute (at character 1) = '٣'"),
        ("*\u00a0* * * *", "has 4 fields"),
        ("0 0 30 2 *", "never fires: no such day exists"),
        ("0 0 31 4,6,9,11 *", "never fires: no such day exists"),
        ("0 0 */31 2 1#5", "never fires"),
        ("1," * 600 + "1 * * * *", "has 1209 characters"),
        (
            "TZ=Asia/Tokyo 0 9 * * *",
            "timezone = 'Asia/Tokyo' (timeZone in a resource), and the expression '0 9 *",
        ),
        ("CRON_TZ='UTC' @daily", "timezone = 'UTC' (timeZone in a resource), and the expression '@daily'"),
        ("tz= * * * * *", "names a time zone"),
    ],
)
def test_a_wrong_expression_is_refused_with_its_place(expression: str, message: str) -> None:
    with pytest.raises(ScheduleError) as raised:
        cron(expression)
    assert message in str(raised.value)


# ---- H ----


def test_h_is_spread_by_job_and_stays() -> None:
    per_job = {
        job: take(cron("H H * * *", job_id=job), 3, after=utc("2026-01-01")) for job in map(str, range(200))
    }
    assert len({instants[0] for instants in per_job.values()}) > 150
    for job, instants in per_job.items():
        assert take(cron("H H * * *", job_id=job), 3, after=utc("2026-01-01")) == instants


@pytest.mark.parametrize("job", [f"job-{n}" for n in range(50)])
def test_h_never_falls_on_a_day_that_some_months_lack(job: str) -> None:
    assert len(take(cron("0 0 H * *", job_id=job), 12, after=utc("2025-12-31"))) == 12
    months = [i.month for i in take(cron("0 0 H * *", job_id=job), 12, after=utc("2025-12-31"))]
    assert months == list(range(1, 13))


@pytest.mark.parametrize("job", [f"job-{n}" for n in range(50)])
def test_h_with_a_step_or_a_range_keeps_to_them(job: str) -> None:
    stepped = take(cron("H/15 * * * *", job_id=job), 5, after=utc("2026-01-01"))
    assert {(b - a).total_seconds() for a, b in pairwise(stepped)} == {900}
    (ranged,) = take(cron("0 H(1-5) * * *", job_id=job), 1, after=utc("2026-01-01"))
    assert 1 <= ranged.hour <= 5
    both = take(cron("H(10-40)/20 0 * * *", job_id=job), 6, after=utc("2026-01-01"))
    assert all(10 <= i.minute <= 40 for i in both)


# ---- cronsim as the oracle ----


def _cronsim(expression: str, start: datetime, *, count: int, reverse: bool = False) -> list[datetime]:
    simulated: Iterator[datetime] = CronSim(expression, start, reverse=reverse)
    return list(islice(simulated, count))


@given(expression=cron_strings(), start=starts)
@settings(max_examples=1000)
def test_forward_and_back_as_cronsim(expression: str, start: datetime) -> None:
    try:
        ours = cron(expression)
    except ScheduleError:
        with suppress(CronSimError):
            assert _cronsim(expression, start, count=1) == []
        return
    start = start.replace(microsecond=0)
    assert take(ours, 4, after=start) == _cronsim(expression, start, count=4)
    back = []
    found = ours.latest_at(start - MICROSECOND)
    for _ in range(3):
        assume(found is not None and found.year > 1971)
        assert found is not None
        back.append(found)
        found = ours.latest_at(found - MICROSECOND)
    assert back == _cronsim(expression, start.astimezone(UTC), count=3, reverse=True)

"""Schedules and expressions for the tests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import reject
from hypothesis import strategies as st

from piko.errors import ScheduleError
from piko.schedule import Schedule, parse_schedule

MICROSECOND = timedelta(microseconds=1)

# A zone, and the dates of its clocks' changes: the usual ones, one of half an hour, one at midnight, one of
# two hours, one whose standard time is summer's, one that ends its summer twice within a year, and one that
# left out a whole day.
CHANGES = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "America/St_Johns": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
    "America/Santiago": ("2026-04-05", "2026-09-06"),
    "Antarctica/Troll": ("2026-03-29", "2026-10-25"),
    "Europe/Dublin": ("2026-03-29", "2026-10-25"),
    "Africa/Casablanca": ("2026-02-15", "2026-03-22"),
    "Asia/Gaza": ("2040-10-20", "2040-10-27"),
    "Pacific/Apia": ("2011-12-30", "2012-04-01"),
}
EDGES = [(zone, date) for zone, dates in CHANGES.items() for date in dates]


def schedule(
    kind: str, expression: Any, zone: str = "UTC", *, job_id: str = "job", **bounds: datetime
) -> Schedule:
    """`expression` as JSON, in `zone`."""
    text = json.dumps(expression)
    return parse_schedule(job_id=job_id, schedule_type=kind, schedule_expr=text, timezone=zone, **bounds)


def cron(expression: Any, zone: str = "UTC", *, job_id: str = "job", **bounds: datetime) -> Schedule:
    return schedule("cron", expression, zone, job_id=job_id, **bounds)


def utc(text: str) -> datetime:
    """An instant in UTC, written without offset."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local_start(date: str, zone: str, *, days_before: int = 1) -> datetime:
    """Midnight some days before `date` in `zone`."""
    midnight = datetime.fromisoformat(date) - timedelta(days=days_before)
    return midnight.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def take(source: Schedule, count: int, *, after: datetime) -> list[datetime]:
    return list(islice(source.between(after, utc("9999-12-31")), count))


# ---- random expressions -----------------------------------------------------------------------------


@st.composite
def items(draw: st.DrawFn, low: int, high: int, *, starts: bool = True) -> str:
    """One item of a cron field that every dialect reads alike: `n`, `a-b`, `a-b/n`, `*/n`, `a/n`."""
    first = draw(st.integers(low, high - 1))
    last = draw(st.integers(first + 1, high))
    step = draw(st.integers(1, last - first))
    forms = [f"{first}", f"{last}", f"{first}-{last}", f"{first}-{last}/{step}", f"*/{step}"]
    if starts:
        forms.append(f"{first}/{step}")
    return draw(st.sampled_from(forms))


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, *, starts: bool = True) -> str:
    """One cron field: `*`, or one to three items."""
    if draw(st.booleans()):
        return draw(st.sampled_from(["*", str(low), str(high)]))
    return ",".join(draw(st.lists(items(low, high, starts=starts), min_size=1, max_size=3)))


@st.composite
def cron_strings(draw: st.DrawFn) -> str:
    """Five fields in the grammar that cronsim and croniter share.

    Left out, because the two differ: day of week `a/n`, which cronsim carries on to 7 and so to Sunday;
    ranges that wrap around and `a-a`, which cronsim refuses; `LW`, which croniter refuses; `W`, `H`, `?`,
    which cronsim refuses.
    """
    day = st.one_of(fields(1, 31), st.sampled_from(["*", "L", "15,L", "*/2"]))
    nth = st.builds("{}#{}".format, st.integers(0, 7), st.integers(1, 5))
    last = st.builds("{}L".format, st.integers(0, 7))
    named = st.sampled_from(["mon", "sun", "mon-fri", "tue,thu", "sat,sun", "*/2", "5-7"])
    weekday = st.one_of(st.just("*"), fields(0, 7, starts=False), nth, last, named)
    month = st.one_of(st.just("*"), fields(1, 12), st.sampled_from(["jan", "feb", "mar-oct", "jun,dec"]))
    parts = (fields(0, 59), fields(0, 23), day, month, weekday)
    return " ".join(draw(part) for part in parts)


_from, _to = (datetime.fromisoformat(f"{year}-01-01") for year in (2020, 2040))

starts = st.datetimes(_from, _to, timezones=st.just(UTC))

interval_forms = st.builds(lambda seconds: ("interval", {"seconds": seconds}), st.integers(1, 10**6))
cron_forms = st.builds(lambda text: ("cron", text), cron_strings())
date_forms = st.builds(
    lambda when: ("date", {"run_date": f"{when:%Y-%m-%d %H:%M:%S}"}),
    st.datetimes(_from, _to),
)
zones = st.sampled_from([*CHANGES, "UTC", "Asia/Kathmandu"])


def made_or_rejected(form: tuple[str, Any], zone: str, **bounds: Any) -> Schedule:
    """The schedule of a random form; one that never fires is no example."""
    try:
        return schedule(*form, zone, **bounds)
    except ScheduleError as error:
        if "never fires" not in str(error):
            raise
        reject()

"""Schedules of other schedulers, beside what the page makes of them: the same due times."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import celery.schedules
import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from celery import Celery

from piko.schedule import parse_schedule
from piko.testing import run_job
from tests.cli.piko import OK, piko_here
from tests.docs.pages import read
from tests.schedule.making import take

_PAGE = read("how-to/move-from-another-scheduler.md")
_MINUTE = timedelta(minutes=1)
_NEAR = timedelta(hours=3)  # more than clocks change by
# From a Friday evening to Monday: once over a plain week end, and over the end of summer time.
_STARTS = [
    datetime.fromisoformat(text) for text in ("2026-06-05T18:00:00+02:00", "2026-10-23T18:00:00+02:00")
]


def _part(heading: str) -> str:
    [part] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", _PAGE, re.MULTILINE | re.DOTALL)
    return str(part)


def _blocks(heading: str) -> tuple[str, str, str]:
    """What stands there, and what stands here: code and resources."""
    there, code, resources = re.findall(r"^```\w+\n(.*?)^```", _part(heading), re.MULTILINE | re.DOTALL)
    return there, code, resources


def _names(code: str) -> dict[str, Any]:
    """What a block of the page defines."""
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, "page", "exec", dont_inherit=True), names)
    return names


def _due_times(folder: Path, resources: str, *, count: int, after: datetime | None = None) -> list[datetime]:
    """The next due times of the only schedule in `resources`, after now or after an instant."""
    (folder / "schedules.yaml").write_text(resources, encoding="utf-8")
    start = [] if after is None else ["--after", after.isoformat()]
    answer = piko_here("next", "-f", "schedules.yaml", "-n", str(count), *start, "-o", "json", cwd=folder)
    assert answer.code == OK, answer.err
    [schedule] = json.loads(answer.out)
    return [datetime.fromisoformat(item["instant"]) for item in schedule["instants"]]


def _beats(app: Celery, entry: celery.schedules.BaseSchedule, start: datetime) -> Iterator[datetime]:
    """When a beat that looks each minute sends `entry`, which it last did at `start`."""
    last = now = start
    entry.nowfun = lambda: now.astimezone(app.timezone)
    while True:
        now += max(_MINUTE, entry.remaining_estimate(last.astimezone(app.timezone)) - _NEAR)
        if entry.is_due(last.astimezone(app.timezone)).is_due:
            yield now
            last = now


# ---- APScheduler ------------------------------------------------------------------------------------


def test_what_apscheduler_fires_is_due_here(tmp_path: Path) -> None:
    there, code, resources = _blocks("From APScheduler")
    scheduler: AsyncIOScheduler = _names(there)["scheduler"]
    [job] = scheduler.get_jobs()
    due = _due_times(tmp_path, resources, count=20)
    fires: list[datetime] = []
    at = job.trigger.get_next_fire_time(None, due[0])
    while len(fires) < len(due):
        fires.append(at.astimezone(UTC))
        at = job.trigger.get_next_fire_time(at, at)
    assert (len(due), due) == (20, fires)
    assert run_job(_names(code)["app"], "nightly_report").succeeded


# ---- Celery beat ------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", _STARTS)
def test_what_the_beat_sends_is_due_here(start: datetime, tmp_path: Path) -> None:
    there, _, resources = _blocks("From Celery beat")
    app: Celery = _names(there)["app"]
    [entry] = app.conf.beat_schedule.values()
    count = 6 * 12 + 3 * 12  # what is left of Friday, and three hours of Monday
    due = _due_times(tmp_path, resources, count=count, after=start)
    assert list(islice(_beats(app, entry["schedule"], start), count)) == due
    assert (due[0].date(), due[-1].date()) == (start.date(), (start + timedelta(days=3)).date())


def test_a_task_of_the_beat_gets_the_same_arguments_as_a_job(tmp_path: Path) -> None:
    there, code, resources = _blocks("From Celery beat")
    names = _names(there)
    [entry] = names["app"].conf.beat_schedule.values()
    assert entry["task"] == names["sync_orders"].name
    (tmp_path / "schedules.yaml").write_text(resources, encoding="utf-8")
    assert piko_here("validate", "-f", "schedules.yaml", cwd=tmp_path).code == OK
    run = run_job(_names(code)["app"], "sync_orders", config=entry["kwargs"])
    assert (run.succeeded, run.result) == (True, {"rows": 500})


_ENTRIES = re.findall(
    r"^\| `((?:crontab|schedule)\([^`]*\))`[^|]* \| `(\{[^`]*\})`", _part("From Celery beat"), re.MULTILINE
)


def test_the_table_has_entries_of_the_beat() -> None:
    assert {there.partition("(")[0] for there, _ in _ENTRIES} == {"crontab", "schedule"}


@pytest.mark.parametrize(("there", "here"), _ENTRIES)
def test_an_entry_of_the_beat_in_the_table_is_due_at_the_same_times(there: str, here: str) -> None:
    app = Celery(set_as_current=False)
    entry = eval(there, vars(celery.schedules).copy())
    entry.app = app
    expression = json.loads(here)
    ours = parse_schedule(
        job_id="job",
        schedule_type="interval" if "minutes" in expression else "cron",
        schedule_expr=here,
        timezone="UTC",
    )
    # An interval of the beat begins when the beat does, and here on a grid: so at an instant of both.
    start = datetime(2026, 2, 27, tzinfo=UTC)
    due = take(ours, 20, after=start)
    assert list(islice(_beats(app, entry, start), 20)) == due

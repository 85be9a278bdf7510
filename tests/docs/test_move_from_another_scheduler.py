"""Schedules of other schedulers, beside what the page makes of them: the same due times."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from piko.testing import run_job
from tests.cli.piko import OK, piko_here
from tests.docs.pages import read

_PAGE = read("how-to/move-from-another-scheduler.md")
_DUE_TIMES = 20


def _blocks(heading: str) -> tuple[str, str, str]:
    """What stands there, and what stands here: code and resources."""
    [part] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", _PAGE, re.MULTILINE | re.DOTALL)
    there, code, resources = re.findall(r"^```\w+\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    return there, code, resources


def _names(code: str) -> dict[str, Any]:
    """What a block of the page defines."""
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, "page", "exec", dont_inherit=True), names)
    return names


def _due_times(folder: Path, resources: str) -> list[datetime]:
    (folder / "schedules.yaml").write_text(resources, encoding="utf-8")
    answer = piko_here("next", "-f", "schedules.yaml", "-n", str(_DUE_TIMES), "-o", "json", cwd=folder)
    assert answer.code == OK, answer.err
    [schedule] = json.loads(answer.out)
    return [datetime.fromisoformat(item["instant"]) for item in schedule["instants"]]


def test_what_apscheduler_fires_is_due_here(tmp_path: Path) -> None:
    there, code, resources = _blocks("From APScheduler")
    scheduler: AsyncIOScheduler = _names(there)["scheduler"]
    [job] = scheduler.get_jobs()
    due = _due_times(tmp_path, resources)
    fires: list[datetime] = []
    at = job.trigger.get_next_fire_time(None, due[0])
    while len(fires) < len(due):
        fires.append(at.astimezone(UTC))
        at = job.trigger.get_next_fire_time(at, at)
    assert (len(due), due) == (_DUE_TIMES, fires)
    assert run_job(_names(code)["app"], "nightly_report").succeeded


def test_an_entry_of_the_beat_is_due_here_with_its_arguments(tmp_path: Path) -> None:
    _, code, resources = _blocks("From Celery beat")
    due = _due_times(tmp_path, resources)
    assert len(due) == _DUE_TIMES
    assert all(instant.minute % 5 == 0 and instant.weekday() < 5 for instant in due)
    assert piko_here("validate", "-f", "schedules.yaml", cwd=tmp_path).code == OK
    run = run_job(_names(code)["app"], "sync_orders", config={"limit": 500})
    assert (run.succeeded, run.result) == (True, {"rows": 500})

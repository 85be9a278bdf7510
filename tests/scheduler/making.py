"""Rows, planned jobs and plans for the tests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.catalog import Catalog
from piko.catalog.jobs import AssessedRow, Job, assess
from piko.core.registry import JobDefinition, JobRegistry
from piko.core.types import BackfillPolicy
from piko.model.schedules import ScheduleRow

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

_DEFAULTS: dict[str, Any] = {
    "timezone": None,
    "enabled": True,
    "version": 1,
    "start_at": None,
    "end_at": None,
    "jitter_s": 0.0,
    "misfire_grace_s": 300.0,
    "coalesce": True,
    "overlap_policy": "skip",
    "max_instances": 1,
    "concurrency_group": None,
    "concurrency_limit": None,
    "priority": 0,
    "timeout_s": None,
    "max_attempts": None,
    "retry_backoff_s": 10.0,
    "retry_max_backoff_s": 300.0,
    "backfill_policy": None,
    "max_lookback_s": None,
    "backfill_max_windows": None,
    "last_data_time": None,
    "completed_at": None,
    "created_at": NOON,
    "updated_at": NOON,
}


def at(text: str) -> datetime:
    """A time of the day of `NOON`: `12:00:30`."""
    return datetime.fromisoformat(f"{NOON:%Y-%m-%d}T{text}").replace(tzinfo=UTC)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def row(job_id: str = "job", expression: Any = None, **columns: Any) -> ScheduleRow:
    """A row as the database fills it up; each ten seconds if nothing else is said."""
    expression = {"seconds": 10} if expression is None else expression
    kind = "cron" if isinstance(expression, str) else "date" if "run_date" in expression else "interval"
    values = {"schedule_type": kind, "schedule_expr": json.dumps(expression), **_DEFAULTS, **columns}
    return ScheduleRow(job_id=job_id, **values)


async def handler(ctx: object, scheduled_time: datetime) -> None:
    """Does nothing."""


def definition(job_id: str = "job", *, stateful: bool = False, **values: Any) -> JobDefinition:
    return JobDefinition(job_id=job_id, handler=handler, resources={}, stateful=stateful, **values)


def registry(*definitions: JobDefinition) -> JobRegistry:
    made = JobRegistry()
    for item in definitions:
        made.register(item)
    return made


def planned(
    expression: Any = None,
    *,
    job_id: str = "job",
    stateful: bool = False,
    policy: BackfillPolicy = BackfillPolicy.CATCH_UP,
    **columns: Any,
) -> Job:
    """The job of such a row."""
    made = definition(job_id, stateful=stateful, backfill_policy=policy)
    job = assessed(row(job_id, expression, **columns), made).job
    assert job is not None
    return job


def assessed(of: ScheduleRow, *definitions: JobDefinition) -> AssessedRow:
    return assess(of, registry=registry(*definitions), timezone="UTC")


def catalog(*assessed_rows: AssessedRow) -> Catalog:
    return Catalog(assessed_rows=AssessedRows({item.row.job_id: item for item in assessed_rows}), loaded=True)

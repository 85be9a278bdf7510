"""A night as rows: what a person on call finds on the page, for as long as a run of all tests may take."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert

from piko.model.sinks import SinkState, sinks_text
from piko.store.engine import open_database
from piko.store.schema.tables.backfills import backfill
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.dead_letters import dead_letter
from piko.store.schema.tables.replicas import job_definition, leader_lease, runtime_instance
from piko.store.schema.tables.revisions import job_config_revision
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

ERROR = "KeyError: 'customer_id'\nTraceback (most recent call last):\n  ...\nKeyError: 'customer_id'"
HOSTILE = "<script>alert(1)</script>"
SECRET = "hunter2-of-the-database"
_SCHEMA = {
    "properties": {"batch": {"type": "integer"}, "db": {"$ref": "#/$defs/Db"}},
    "$defs": {"Db": {"properties": {"password": {"type": "string", "writeOnly": True}}}},
}
_OWNER = "prod/data/orders/uid"


async def write_night(dsn: str, *, many: int = 0) -> None:
    """Jobs that fail, are late, invalid, paused and well; runs, a backfill, a config; `many` further jobs."""
    now = datetime.now(UTC).replace(microsecond=0)
    database = open_database(dsn)
    try:
        async with database.transaction() as connection:
            await connection.execute(insert(scheduled_job), [*_schedules(now), *_further(many)])
            await connection.execute(insert(job_state), _states(now))
            await connection.execute(
                insert(job_definition), [_definition(job) for job in ("failing", "well")]
            )
            await connection.execute(insert(job_run), _runs(now))
            await connection.execute(insert(leader_lease), [_lease(now)])
            await connection.execute(insert(runtime_instance), [_instance(now)])
            await connection.execute(insert(dead_letter), _letters(now))
            await connection.execute(insert(backfill), [_backfill(now)])
            config = json.dumps({"batch": 5, "db": {"password": SECRET}, "note": HOSTILE})
            await connection.execute(insert(job_config), [{"job_id": "failing", "config_json": config}])
            await connection.execute(insert(job_config_revision), [_revision(config)])
    finally:
        await database.close()


def _schedules(now: datetime) -> list[dict[str, object]]:
    jobs = ("failing", "late", "invalid", "paused", "well", "a.b:c-d")
    return [
        {
            "job_id": job,
            "schedule_type": "cron",
            "schedule_expr": '"0 * * * *"' if job != "invalid" else '"0 25 * * *"',
            "enabled": job != "paused",
            "managed_by": _OWNER if job == "failing" else None,
            "last_data_time": now - timedelta(hours=26) if job == "failing" else None,
        }
        for job in jobs
    ]


def _further(many: int) -> list[dict[str, object]]:
    return [
        {
            "job_id": f"tenant-{number:04}",
            "schedule_type": "cron",
            "schedule_expr": '"0 * * * *"',
            "enabled": True,
            "managed_by": None,
            "last_data_time": None,
        }
        for number in range(many)
    ]


def _states(now: datetime) -> list[dict[str, object]]:
    known = {
        "failing": ("Scheduled", None, now + timedelta(days=2), "FAILED", 26, ERROR),
        "late": ("Scheduled", None, now - timedelta(minutes=12), "SUCCESS", 0, None),
        "invalid": ("Invalid", f"hour = 25: is out of range {HOSTILE}", None, None, 0, None),
        "paused": ("Disabled", "the row is disabled", None, "SUCCESS", 0, None),
        "well": ("Scheduled", None, now + timedelta(days=1), "SUCCESS", 0, None),
    }
    names = ("status", "message", "next_run_at", "last_state", "consecutive_failures", "last_error")
    return [
        {"job_id": job, **dict(zip(names, values, strict=True)), "observed_version": 1}
        for job, values in known.items()
    ]


def _definition(job_id: str) -> dict[str, object]:
    return {
        "job_id": job_id,
        "app": "warehouse",
        "handler": f"jobs:{job_id}",
        "stateful": job_id == "failing",
        "content_hash": "hash",
        "instance_id": "warehouse-0-a1",
        "config_schema": json.dumps(_SCHEMA),
    }


def _runs(now: datetime) -> list[dict[str, object]]:
    found = [_run(f"failed-{n:02}", "failing", now - timedelta(hours=n + 1), "FAILED") for n in range(26)]
    found += [_run(f"well-{n:02}", "well", now - timedelta(hours=n + 1), "SUCCESS") for n in range(60)]
    found += [_run("running", "well", now - timedelta(minutes=2), "RUNNING")]
    for n in range(12):
        state = "FAILED" if n == 4 else "SUCCESS"
        due = now - timedelta(days=9) + timedelta(hours=n)
        found.append({**_run(f"filled-{n:02}", "failing", due, state), "backfill_id": "backfill-1"})
    return found


def _run(run_id: str, job_id: str, due: datetime, state: str) -> dict[str, object]:
    ended = state != "RUNNING"
    return {
        "run_id": run_id,
        "job_id": job_id,
        "scheduled_time": due,
        "state": state,
        "window_start": due - timedelta(hours=1) if job_id == "failing" else None,
        "window_end": due if job_id == "failing" else None,
        "started_at": due + timedelta(seconds=1),
        "finished_at": due + timedelta(seconds=31) if ended else None,
        "duration_s": 30.0 if ended else None,
        "error": ERROR if state == "FAILED" else None,
        "backfill_id": None,
    }


def _lease(now: datetime) -> dict[str, object]:
    return {
        "name": "piko",
        "epoch": 17,
        "holder": "warehouse-0-a1",
        "holder_host": "warehouse-0",
        "acquired_at": now - timedelta(hours=3),
        "renewed_at": now,
        "expires_at": now + timedelta(days=1),
    }


def _instance(now: datetime) -> dict[str, object]:
    return {
        "instance_id": "warehouse-0-a1",
        "app": "warehouse",
        "host": "warehouse-0",
        "pid": 1,
        "version": "0.1.0",
        "started_at": now - timedelta(hours=3),
        "heartbeat_at": now + timedelta(days=1),
        "sinks": sinks_text(
            [
                SinkState(
                    sink="warehouse",
                    durability="spooled",
                    waiting=1234,
                    oldest_at=now - timedelta(hours=2),
                    error=f"ConnectionError: away {HOSTILE}",
                    failing_since=now - timedelta(hours=1),
                    dead_letters=2,
                    first_died_at=now - timedelta(hours=1),
                ),
                SinkState(sink="lake", durability="memory", waiting=0),
            ]
        ),
    }


def _letters(now: datetime) -> list[dict[str, object]]:
    return [
        {
            "letter_id": f"letter-{number}",
            "instance_id": instance_id,
            "sink": "warehouse",
            "job_id": "failing",
            "run_id": "failed-03",
            "record_key": f"customer {number} {HOSTILE}",
            "error": "IntegrityError: total may not be NULL",
            "died_at": now - timedelta(hours=1),
        }
        for number, instance_id in enumerate(("warehouse-0-a1", "warehouse-0-a1", "ended"))
    ]


def _backfill(now: datetime) -> dict[str, object]:
    start = now - timedelta(days=9, hours=1)
    return {
        "backfill_id": "backfill-1",
        "job_id": "failing",
        "state": "ACTIVE",
        "range_start": start,
        "range_end": start + timedelta(hours=24),
        "schedule_type": "cron",
        "schedule_expr": '"0 * * * *"',
        "timezone": "UTC",
        "next_start": start + timedelta(hours=12),
        "windows_total": 24,
        "windows_succeeded": 11,
        "windows_failed": 1,
    }


def _revision(config: str) -> dict[str, object]:
    return {
        "job_id": "failing",
        "revision": 1,
        "content_hash": "hash",
        "schema_version": 1,
        "config_json": config,
        "secret_json": json.dumps({"token": SECRET}),
        "row_version": 1,
        "author": "maria",
        "source": "sql",
    }

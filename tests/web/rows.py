"""Rows for tests of the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.harness.databases import TestDatabase

FIRST = datetime(2026, 1, 8, tzinfo=UTC)


async def add_jobs(database: TestDatabase, *job_ids: str, owner: str | None = None) -> None:
    said = "NULL" if owner is None else f"'{owner}'"
    rows = ", ".join(f"('{job_id}', 'cron', '\"@hourly\"', {said})" for job_id in job_ids)
    await database.execute(
        f"INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, managed_by) VALUES {rows}"
    )


async def add_states(database: TestDatabase, states: dict[str, tuple[str, datetime | None, int]]) -> None:
    """By job: status, next due time, failures in a row."""
    rows = ", ".join(
        f"('{job_id}', '{status}', {'NULL' if due is None else quoted(due)}, {failures}, "
        f"'{'FAILED' if failures else 'SUCCESS'}')"
        for job_id, (status, due, failures) in states.items()
    )
    await database.execute(
        f"INSERT INTO job_state (job_id, status, next_run_at, consecutive_failures, last_state) VALUES {rows}"
    )


async def add_runs(
    database: TestDatabase, job_id: str, states: list[str], *, prefix: str = "run", window: bool = False
) -> list[str]:
    """One run a minute from `FIRST` on; their ids."""
    ids = [f"{prefix}-{number:03}" for number in range(len(states))]
    rows = []
    for number, (run_id, state) in enumerate(zip(ids, states, strict=True)):
        due = FIRST + timedelta(minutes=number)
        start = quoted(due - timedelta(minutes=1)) if window else "NULL"
        end = quoted(due) if window else "NULL"
        rows.append(f"('{run_id}', '{job_id}', {quoted(due)}, '{state}', {start}, {end})")
    await database.execute(
        "INSERT INTO job_run (run_id, job_id, scheduled_time, state, window_start, window_end) "
        f"VALUES {', '.join(rows)}"
    )
    return ids


async def add_definition(database: TestDatabase, job_id: str, *, stateful: bool = False) -> None:
    await database.execute(
        "INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id) "
        f"VALUES ('{job_id}', 'demo', 'app:{job_id}', {int(stateful)}, 'hash', 'one')"
    )


async def add_letters(
    database: TestDatabase,
    count: int,
    *,
    sink: str = "warehouse",
    job_id: str = "load",
    run_id: str = "run-000",
    instance_id: str = "one",
    prefix: str = "letter",
) -> list[str]:
    """Dead letters that an instance has listed, the oldest first; their ids."""
    ids = [f"{prefix}-{number:03}" for number in range(count)]
    rows = ", ".join(
        f"('{letter_id}', '{instance_id}', '{sink}', '{job_id}', '{run_id}', 'key-{number}', "
        f"'ValueError: no {number}', {quoted(FIRST + timedelta(seconds=number))})"
        for number, letter_id in enumerate(ids)
    )
    await database.execute(
        "INSERT INTO dead_letter "
        f"(letter_id, instance_id, sink, job_id, run_id, record_key, error, died_at) VALUES {rows}"
    )
    return ids


async def add_replica(
    database: TestDatabase, instance_id: str, *, sinks: str | None = None, ago_s: int = 0
) -> None:
    """A replica that was heard of `ago_s` seconds ago; `sinks` is what it says of them, as JSON."""
    now = datetime.now(UTC) - timedelta(seconds=ago_s)
    said = "NULL" if sinks is None else f"'{sinks}'"
    await database.execute(
        "INSERT INTO runtime_instance "
        "(instance_id, app, host, pid, version, started_at, heartbeat_at, sinks) "
        f"VALUES ('{instance_id}', 'demo', 'host-{instance_id}', 1, '0', {quoted(now)}, "
        f"{quoted(now)}, {said})"
    )


def quoted(moment: datetime) -> str:
    return f"'{moment:%Y-%m-%d %H:%M:%S.%f}'"

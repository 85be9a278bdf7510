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
    """A replica that was heard of `ago_s` seconds ago; `sinks` is what it says of them, as JSON.

    With 0 it is alive for as long as a test may take: a minute later it would be silent.
    """
    heard = datetime.now(UTC) - timedelta(seconds=ago_s)
    until = heard if ago_s else heard + timedelta(days=1)
    said = "NULL" if sinks is None else f"'{sinks}'"
    await database.execute(
        "INSERT INTO runtime_instance "
        "(instance_id, app, host, pid, version, started_at, heartbeat_at, sinks) "
        f"VALUES ('{instance_id}', 'demo', 'host-{instance_id}', 1, '0', {quoted(heard)}, "
        f"{quoted(until)}, {said})"
    )


async def add_one_of_each(database: TestDatabase) -> None:
    """One of each thing that has an id: the stateful job `a` with its config, runs, log and letters."""
    begin, end = quoted(FIRST), quoted(FIRST + timedelta(hours=2))
    await add_jobs(database, "a", "b:c")
    await add_states(database, {"a": ("Scheduled", FIRST, 1)})
    await add_runs(database, "a", ["SUCCESS", "FAILED", "RUNNING", "QUEUED"], window=True)
    await add_definition(database, "a", stateful=True)
    await add_definition(database, "b:c")
    await add_letters(database, 3, job_id="a", run_id="run-001")
    await add_replica(database, "one")
    for statement in (
        "INSERT INTO job_config (job_id, schema_version, config_json, version) "
        "VALUES ('a', 1, '{\"n\": 1}', 1)",
        "INSERT INTO job_config_revision (job_id, revision, content_hash, schema_version, config_json, "
        "row_version) VALUES ('a', 1, 'hash', 1, '{\"n\": 1}', 1)",
        "INSERT INTO run_log (run_id, job_id, head, line_count, result, written_at) "
        f"VALUES ('run-001', 'a', 'one', 1, '{{\"rows\": 1}}', {begin})",
        "INSERT INTO backfill (backfill_id, job_id, state, range_start, range_end, schedule_type, "
        "schedule_expr, timezone, next_start, windows_total) VALUES "
        f"('backfill-1', 'a', 'ACTIVE', {begin}, {end}, 'cron', '\"@hourly\"', 'UTC', {begin}, 2)",
        "INSERT INTO leader_lease (name, epoch, holder, acquired_at, renewed_at, expires_at) "
        f"VALUES ('default', 1, 'one', {begin}, {begin}, {end})",
        "INSERT INTO change_log (change_id, at, who, via, what, job_id) "
        f"VALUES ('change-1', {begin}, 'ann', 'cli', 'pause', 'a')",
    ):
        await database.execute(statement)


def quoted(moment: datetime) -> str:
    return f"'{moment:%Y-%m-%d %H:%M:%S.%f}'"

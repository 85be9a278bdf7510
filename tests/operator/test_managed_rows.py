"""The gateway of managed rows, on every database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from piko.model.managed import Change, Held, ManagedConfig, ManagedSchedule, RefusedChange, Verb, WriteResult
from piko.store.engine import Database, open_database
from piko.store.managed import managed_configs, managed_schedules
from tests.harness.databases import TestDatabase
from tests.harness.statements import sent_to

_ROW = ManagedSchedule(
    job_id="a",
    schedule_type="cron",
    schedule_expr='{"cron":"@daily"}',
    timezone="UTC",
    enabled=True,
    start_at=datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC),
    end_at=None,
    jitter_s=1.5,
    misfire_grace_s=300.0,
    coalesce=True,
    overlap_policy="skip",
    max_instances=1,
    concurrency_group=None,
    concurrency_limit=None,
    priority=0,
    timeout_s=0.25,
    max_attempts=None,
    retry_backoff_s=10.0,
    retry_max_backoff_s=300.0,
    backfill_policy="CATCH_UP",
    max_lookback_s=None,
    backfill_max_windows=None,
    history_successful=100,
    history_failed=100,
    managed_by="c/ns/n/1",
)


@pytest.fixture
async def opened(migrated_database: TestDatabase) -> AsyncIterator[Database]:
    handle = open_database(migrated_database.dsn)
    yield handle
    await handle.close()


def _create(row: ManagedSchedule) -> Change[ManagedSchedule]:
    return Change(verb=Verb.CREATE, job_id=row.job_id, row=row)


async def test_a_row_is_read_as_it_was_written(opened: Database) -> None:
    table = managed_schedules(opened)
    assert await table.apply([_create(_ROW)]) == {"a": WriteResult.DONE}
    assert await table.read(["a", "b"]) == {"a": Held(row=_ROW, version=1)}


async def test_a_write_for_an_outdated_row_changes_nothing(opened: Database) -> None:
    table = managed_schedules(opened)
    await table.apply([_create(_ROW)])
    seen = (await table.read(["a"]))["a"]
    newer = replace(_ROW, priority=1)
    first = Change(verb=Verb.REPLACE, job_id="a", row=newer, seen=seen)
    assert await table.apply([first]) == {"a": WriteResult.DONE}
    for verb in (Verb.REPLACE, Verb.DELETE, Verb.DISABLE, Verb.HAND_BACK):
        late = Change(verb=verb, job_id="a", row=_ROW, seen=seen)
        assert await table.apply([late]) == {"a": WriteResult.STALE}
    assert await table.read(["a"]) == {"a": Held(row=newer, version=2)}


async def test_many_rows_are_deleted_by_one_statement_except_for_those_that_have_changed(
    opened: Database, migrated_database: TestDatabase
) -> None:
    told: list[str] = []
    table = managed_schedules(opened, deleted=told.extend)
    rows = {f"job-{number}": replace(_ROW, job_id=f"job-{number}") for number in range(20)}
    await table.apply([_create(row) for row in rows.values()])
    seen = await table.read(list(rows))
    edited = replace(rows["job-7"], priority=1)
    await table.apply([Change(verb=Verb.REPLACE, job_id="job-7", row=edited, seen=seen["job-7"])])
    with sent_to(migrated_database, of="DELETE FROM scheduled_job") as sent:
        results = await table.apply(
            [Change(verb=Verb.DELETE, job_id=job_id, seen=seen[job_id]) for job_id in rows]
        )
    assert len(sent) == 1
    assert results.pop("job-7") == WriteResult.STALE
    assert set(results.values()) == {WriteResult.DONE}
    assert list(await table.read(list(rows))) == ["job-7"]
    assert told == [job_id for job_id in rows if job_id != "job-7"]


async def test_a_row_that_someone_else_has_made_is_stale_not_refused(opened: Database) -> None:
    table = managed_schedules(opened)
    await table.apply([_create(_ROW)])
    other = replace(_ROW, managed_by="c/ns/other/2")
    assert await table.apply([_create(other)]) == {"a": WriteResult.STALE}
    assert (await table.read(["a"]))["a"].row == _ROW


async def test_a_row_that_the_database_refuses_does_not_take_its_neighbours_with_it(opened: Database) -> None:
    table = managed_schedules(opened)
    bad, good = replace(_ROW, job_id="bad", max_instances=0), replace(_ROW, job_id="good")
    results = await table.apply([_create(bad), _create(good)])
    assert results["good"] is WriteResult.DONE
    refusal = results["bad"]
    assert isinstance(refusal, RefusedChange)
    assert "max_instances_is_positive" in refusal.why


async def test_owners_are_those_of_one_cluster(opened: Database) -> None:
    table = managed_schedules(opened)
    rows = [
        replace(_ROW, job_id="mine", managed_by="a_c/ns/n/1"),
        replace(_ROW, job_id="like", managed_by="abc/ns/n/2"),
        replace(_ROW, job_id="case", managed_by="A_C/ns/n/3"),
        replace(_ROW, job_id="sql", managed_by=None),
    ]
    await table.apply([_create(row) for row in rows])
    assert await table.owners("a_c") == {"mine": "a_c/ns/n/1"}


@pytest.mark.parametrize("secret", [None, '{"password":"p"}'])
async def test_a_config_is_read_as_it_was_written_with_and_without_a_secret(
    opened: Database, secret: str | None
) -> None:
    row = ManagedConfig(
        job_id="a",
        schema_version=1,
        config_json='{"a":1}',
        secret_json=secret,
        effective_from=datetime(2026, 1, 1, tzinfo=UTC),
        updated_by=None,
        managed_by="c/ns/n/1",
    )
    table = managed_configs(opened)
    assert await table.apply([Change(verb=Verb.CREATE, job_id="a", row=row)]) == {"a": WriteResult.DONE}
    assert await table.read(["a"]) == {"a": Held(row=row, version=1)}

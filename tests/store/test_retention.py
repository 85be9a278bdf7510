"""Pruning on real databases: what stays, what goes, and who need not wait for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from piko.catalog.configs import ConfigBook
from piko.clock import SystemClock
from piko.core.registry import JobRegistry
from piko.core.types import RunState
from piko.errors import FencedError
from piko.leadership.database_lease import DatabaseLease
from piko.leadership.elector import Elector, leadership
from piko.model.configs import ConfigRevision, ConfigRow
from piko.model.fences import Fence
from piko.model.revisions import Stale
from piko.observability.metrics import Metrics
from piko.scheduler.retention import Retention
from piko.store.changes import ChangeStore
from piko.store.configs import ConfigStore
from piko.store.engine import Database
from piko.store.idempotency import IdempotencyKeys
from piko.store.leases import LeaseStore
from piko.store.progress import ProgressStore
from piko.store.retention import RetentionStore
from piko.store.runs import RunStore
from piko.store.schema.migrate import upgrade
from piko.store.schema.tables.changes import change_log
from piko.store.schema.tables.runs import job_lock, job_run
from tests.decisions.test_history_policy import kept_by_sorting
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase
from tests.store.making import LEASE, lead, make_batch, make_instance, make_run, make_state, opened

NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=20)
MINUTE = timedelta(minutes=1)
DAY_S = 86_400.0


def a_run(number: int, *, job_id: str = "job", **values: Any) -> dict[str, Any]:
    """A row of `job_run` that ended long ago, the later the higher its number."""
    moment = LONG_AGO + number * MINUTE
    row = {
        "run_id": f"{job_id}-{number:06}",
        "job_id": job_id,
        "scheduled_time": moment,
        "state": "SUCCESS",
        "finished_at": moment,
        "window_start": None,
        "backfill_id": None,
    }
    return {**row, **values}


def a_lock(number: int, *, job_id: str = "job", **values: Any) -> dict[str, Any]:
    row = {
        "job_id": job_id,
        "scheduled_time": LONG_AGO + number * MINUTE,
        "run_id": f"{job_id}-{number:06}",
        "claim_token": "token",
        "epoch": 1,
    }
    return {**row, **values}


async def write(database: Database, table: Any, rows: list[dict[str, Any]]) -> None:
    async with database.transaction() as connection:
        for start in range(0, len(rows), 5000):
            await connection.execute(insert(table), rows[start : start + 5000])


async def schedule(database: TestDatabase, job_id: str = "job", **columns: Any) -> None:
    values = {"job_id": f"'{job_id}'", "schedule_type": "'interval'", "schedule_expr": "'{\"minutes\": 1}'"}
    values |= {name: str(value) for name, value in columns.items()}
    await database.execute(
        f"INSERT INTO scheduled_job ({', '.join(values)}) VALUES ({', '.join(values.values())})"
    )


def as_written(moment: datetime) -> str:
    return f"'{moment:%Y-%m-%d %H:%M:%S}'"


async def state(database: TestDatabase, job_id: str = "job", *, cursor: datetime, last_run: str = "") -> None:
    await database.execute(
        "INSERT INTO job_state (job_id, status, cursor_at, last_run_id) "
        f"VALUES ('{job_id}', 'Scheduled', '{cursor:%Y-%m-%d %H:%M:%S}.000000', '{last_run}')"
    )


async def kept(database: TestDatabase, table: str = "job_run") -> list[str]:
    rows = await database.execute(f"SELECT run_id FROM {table} ORDER BY run_id")
    return [row[0] for row in rows]


def configs_of_rows(*job_ids: str) -> ConfigBook:
    """What a replica knows of configs whose rows are those of `job_ids`."""
    book = ConfigBook(registry=JobRegistry())
    book.observe(config_row(job_id) for job_id in job_ids)
    return book


def config_row(job_id: str) -> ConfigRow:
    return ConfigRow(
        job_id=job_id, schema_version=1, config_json="{}", secret_json=None, effective_from=None, version=1,
        updated_by=None, managed_by=None, updated_at=NOW,
    )  # fmt: skip


class ClockAtNow(SystemClock):
    """Stands at `NOW`, however long ago the tests were collected."""

    def now(self) -> datetime:
        return NOW


@asynccontextmanager
async def leading(database: Database, **values: Any) -> AsyncIterator[tuple[Retention, Fence, Metrics]]:
    """Retention on a replica that leads, in a hurry."""
    metrics, clock = Metrics(), SystemClock()
    instance = make_instance()
    lease = DatabaseLease(
        rows=LeaseStore(database=database),
        name=LEASE,
        instance=instance,
        lease_s=36_000,
        renew_interval_s=6_000,  # a renewal would wait for claims, in a test that counts who waits
    )
    elector = Elector(lease=lease, lease_name=LEASE, instance=instance, clock=clock, metrics=metrics)
    task = asyncio.create_task(elector.run())
    try:
        fence = await leadership(elector)
        retention = Retention(
            store=RetentionStore(database=database),
            kept=ProgressStore(database=database),
            changes=ChangeStore(database=database),
            keys=IdempotencyKeys(database=database),
            configs=configs_of_rows(*values.pop("configured", ())),
            elector=elector,
            clock=ClockAtNow(),
            metrics=metrics,
            **{"max_age_s": 30 * DAY_S, "most_changes": 1000, "rests": 0.0, **values},
        )
        yield retention, fence, metrics
    finally:
        task.cancel()
        await asyncio.wait({task})


def counted(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(f"piko_{name}_pruned_total") or 0.0


@pytest.mark.parametrize("seed", range(3))
async def test_after_a_round_there_is_what_an_oracle_keeps(
    seed: int, store: Database, emptied_database: TestDatabase
) -> None:
    chance = random.Random(seed)
    limits = (chance.randint(0, 12), chance.randint(0, 12))
    await schedule(emptied_database, history_successful=limits[0], history_failed=limits[1])
    for name, backfill_state in (("open", "PAUSED"), ("over", "FAILED")):
        await emptied_database.execute(
            "INSERT INTO backfill (backfill_id, job_id, state, range_start, range_end, schedule_type, "
            f"schedule_expr, timezone, next_start, windows_total) VALUES ('{name}', 'job', "
            f"'{backfill_state}', '2026-01-01 00:00:00', '2026-01-02 00:00:00', 'interval', '{{}}', 'UTC', "
            "'2026-01-01 00:00:00', 9)"
        )
    rows = [
        a_run(
            number,
            state=chance.choice(
                ["SUCCESS", "SUCCESS", "FAILED", "SKIPPED", "MISSED", "LOST", "RUNNING", "QUEUED"]
            ),
            finished_at=NOW - timedelta(minutes=chance.choice([1, 11, 60, 2000, 30 * 1440 + 1])),
            backfill_id=chance.choice([None, None, None, "open", "over"]),
        )
        for number in range(150)
    ]
    for row in rows:
        if row["state"] in ("RUNNING", "QUEUED"):
            row["finished_at"] = None
    await write(store, job_run, rows)
    await state(emptied_database, cursor=NOW, last_run="job-000003")
    async with leading(store, batch=17) as (retention, fence, metrics):
        reader = RetentionStore(database=store)
        facts, ended = await reader.facts("job"), await reader.ended("job", before=None, limit=1000)
        await retention.go_round(fence)
        active = {row["run_id"] for row in rows if row["state"] in ("RUNNING", "QUEUED")}
        assert len(ended) == 150 - len(active)
        expected = active | kept_by_sorting(facts, ended, NOW, age_s=30 * DAY_S)
        assert set(await kept(emptied_database)) == expected
        assert counted(metrics, "runs") == 150 - len(expected)
        await retention.go_round(fence)
        assert counted(metrics, "runs") == 150 - len(expected), "nothing is left to a second round"


async def test_every_job_has_its_turn_by_its_own_numbers_with_a_row_or_without(
    store: Database, emptied_database: TestDatabase
) -> None:
    await schedule(emptied_database, "a", history_successful=1)
    await schedule(emptied_database, "b", history_successful=2)
    for job_id in ("a", "b", "gone"):
        await write(store, job_run, [a_run(number, job_id=job_id) for number in range(5)])
    await write(store, job_run, [a_run(9, job_id="gone", finished_at=NOW - timedelta(days=31))])
    async with leading(store, batch=2) as (retention, fence, _):
        await retention.go_round(fence)
    assert await kept(emptied_database) == [
        "a-000004", "b-000003", "b-000004", *(f"gone-{number:06}" for number in range(5)),
    ]  # fmt: skip


async def test_locks_go_behind_cursor_and_grace_but_not_that_of_a_run_in_progress(
    store: Database, emptied_database: TestDatabase
) -> None:
    cursor = LONG_AGO + timedelta(hours=2)
    await schedule(emptied_database)
    await state(emptied_database, cursor=cursor)
    await write(store, job_lock, [a_lock(number) for number in range(121)])
    await write(store, job_run, [a_run(7, state="RUNNING"), a_run(8, state="QUEUED"), a_run(9)])
    async with leading(store, batch=10) as (retention, fence, metrics):
        await retention.go_round(fence)
        assert await kept(emptied_database, "job_lock") == [
            f"job-{number:06}" for number in (7, 8, *range(61, 121))
        ]
        assert counted(metrics, "locks") == 59


async def test_a_due_time_whose_run_was_pruned_is_not_claimed_again_while_its_lock_is_there(
    store: Database, emptied_database: TestDatabase
) -> None:
    await schedule(emptied_database, history_successful=0)
    await state(emptied_database, cursor=LONG_AGO)
    await write(store, job_lock, [a_lock(0)])
    await write(store, job_run, [a_run(0)])
    async with leading(store) as (retention, fence, _):
        await retention.go_round(fence)
        assert await kept(emptied_database) == []
        again = make_run(scheduled_time=LONG_AGO)
        assert await RunStore(database=store).claim(make_batch(again), fence, now=NOW) == {}


async def test_a_run_that_holds_a_window_still_to_be_done_stays_so_that_attempts_count_on(
    store: Database, emptied_database: TestDatabase
) -> None:
    watermark = LONG_AGO + 5 * MINUTE
    await schedule(emptied_database, history_failed=0, last_data_time=as_written(watermark))
    await state(emptied_database, cursor=NOW)
    windows = [a_run(number, state="FAILED", window_start=LONG_AGO) for number in (4, 5, 6)]
    earlier = a_run(6, run_id="earlier", state="FAILED", window_start=LONG_AGO)
    await write(store, job_run, [*windows, earlier])
    await write(store, job_lock, [a_lock(number) for number in (4, 5, 6)])
    async with leading(store) as (retention, fence, _):
        await retention.go_round(fence)
    assert await kept(emptied_database) == ["job-000006"]


async def test_of_one_job_the_newest_changes_stay_and_of_others_all(
    store: Database, emptied_database: TestDatabase
) -> None:
    old = NOW - timedelta(days=40)
    lines: list[tuple[str, str | None, datetime]] = [(f"b-{number:03}", "busy", NOW) for number in range(12)]
    lines += [("a-000", "busy", old), ("b-100", "calm", NOW), ("b-101", "calm", NOW), ("b-102", None, NOW)]
    named = [
        {
            "change_id": change_id,
            "job_id": job_id,
            "at": at,
            "who": "ann",
            "via": "sql",
            "what": "edit_schedule",
        }
        for change_id, job_id, at in lines
    ]
    await write(store, change_log, named)
    async with leading(store, batch=3, most_changes=5) as (retention, fence, _):
        await retention.go_round(fence)
    rows = await emptied_database.execute("SELECT change_id FROM change_log ORDER BY change_id")
    assert [row[0] for row in rows] == [
        *(f"b-{number:03}" for number in range(7, 12)),
        "b-100",
        "b-101",
        "b-102",
    ]


async def test_a_deposed_leader_prunes_nothing(store: Database, emptied_database: TestDatabase) -> None:
    await schedule(emptied_database, history_successful=0)
    await state(emptied_database, cursor=NOW)
    await write(store, job_run, [a_run(0)])
    await write(store, job_lock, [a_lock(0)])
    async with leading(store) as (retention, fence, _):
        await lead(store, "another")
        with pytest.raises(FencedError):
            await retention.go_round(fence)
    assert await kept(emptied_database) == ["job-000000"]
    assert await kept(emptied_database, "job_lock") == ["job-000000"]


@pytest.mark.parametrize(("ended", "pause_s"), [(150, 900), (1_000, 60)])
async def test_the_next_round_comes_soon_after_one_that_pruned_much(
    ended: int, pause_s: float, store: Database, emptied_database: TestDatabase
) -> None:
    await schedule(emptied_database)
    await write(store, job_run, [a_run(number) for number in range(ended)])
    async with leading(store, batch=20) as (retention, fence, _):
        await retention.go_round(fence)
        assert retention._pause_s() == pause_s


async def test_claims_wait_for_no_lock_while_50000_old_runs_are_pruned(own_mariadb: DatabaseServer) -> None:
    test_database = await own_mariadb.create_database()
    await upgrade(test_database.dsn)
    await schedule(test_database)
    async with opened(test_database) as database, leading(database, rests=0.5) as (retention, fence, metrics):
        await write(database, job_run, [a_run(number - 30_000) for number in range(50_100)])
        await write(database, job_lock, [a_lock(number) for number in range(20_000)])
        await state(test_database, cursor=NOW)
        waits = await lock_waits(test_database)
        pruning = asyncio.create_task(retention.go_round(fence))
        runs, claimed = RunStore(database=database), 0
        while not pruning.done():
            batch = [make_run(scheduled_time=NOW + (claimed + at) * MINUTE) for at in range(20)]
            won = await runs.claim(
                make_batch(*batch, states=[make_state(cursor_at=NOW)]), fence, now=datetime.now(UTC)
            )
            assert len(won) == 20
            claimed += 20
        await pruning
        assert await lock_waits(test_database) == waits, "somebody waited for a row lock"
        assert claimed >= 200
        assert counted(metrics, "runs") == 50_000
        rows = await test_database.execute(
            "SELECT state, COUNT(*) FROM job_run GROUP BY state ORDER BY state"
        )
        assert [tuple(row) for row in rows] == [("RUNNING", claimed), (RunState.SUCCESS.value, 100)]
        assert counted(metrics, "locks") > 19_000


async def lock_waits(database: TestDatabase) -> int:
    rows = await database.execute(
        "SELECT variable_value FROM information_schema.global_status "
        "WHERE variable_name = 'INNODB_ROW_LOCK_WAITS'"
    )
    return int(rows[0][0])


# ---- configs --------------------------------------------------------------------------------------------


def a_revision(number: int, *, age_s: float, job_id: str = "job", **values: Any) -> ConfigRevision:
    return ConfigRevision(
        **{
            "job_id": job_id, "revision": number, "content_hash": f"hash-{number}", "schema_version": 1,
            "config_json": f'{{"size": {number}}}', "secret_json": f'{{"token": "s{number}"}}',
            "effective_from": None, "row_version": number, "author": None, "source": "sql", "error": None,
            "created_at": NOW - timedelta(seconds=age_s), **values,
        }
    )  # fmt: skip


async def secrets_of(database: TestDatabase) -> list[tuple[str, int, str | None]]:
    rows = await database.execute(
        "SELECT job_id, revision, secret_json FROM job_config_revision ORDER BY job_id, revision"
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def test_secrets_that_are_no_longer_in_force_are_blanked(
    store: Database, emptied_database: TestDatabase
) -> None:
    await emptied_database.execute("INSERT INTO job_config (job_id, config_json) VALUES ('job', '{}')")
    revisions = [
        a_revision(1, age_s=9000),
        a_revision(2, age_s=8000),  # a run that runs was given it
        a_revision(3, age_s=7000),
        a_revision(4, age_s=60),
        a_revision(1, age_s=9000, job_id="without a row"),
        a_revision(2, age_s=31 * DAY_S, job_id="without a row, long ago"),
    ]
    running = {**a_run(5), "state": "RUNNING", "finished_at": None, "config_revision": 2}
    await write(store, job_run, [running])
    async with leading(store, configured=["job"]) as (retention, fence, _):
        await ConfigStore(database=store).record(revisions, fence)
        await retention.go_round(fence)
    assert await secrets_of(emptied_database) == [
        ("job", 1, None), ("job", 2, '{"token": "s2"}'), ("job", 3, '{"token": "s3"}'),
        ("job", 4, '{"token": "s4"}'), ("without a row", 1, None),
    ]  # fmt: skip
    (blanked, *_) = await ConfigStore(database=store).revisions(["job"])
    assert (blanked.content_hash, blanked.config_json) == ("hash-1", '{"size": 1}')
    assert blanked.secret_blanked_at is not None


async def test_nothing_is_blanked_while_a_row_comes_or_goes(
    store: Database, emptied_database: TestDatabase
) -> None:
    revisions = [a_revision(1, age_s=9000), a_revision(2, age_s=8000)]
    async with leading(store, configured=["job"]) as (retention, fence, _):
        await ConfigStore(database=store).record(revisions, fence)
        await retention.go_round(fence)  # the row was deleted, and this replica has not seen it
        stale = Stale(blank=[1, 2], prune=[1])
        there = await RetentionStore(database=store).drop_revisions(
            "job", stale, fence, has_row=True, now=NOW
        )
    assert there == (0, 0)
    assert [secret for _, _, secret in await secrets_of(emptied_database)] == [
        '{"token": "s1"}', '{"token": "s2"}',
    ]  # fmt: skip

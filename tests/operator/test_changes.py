"""Which resources are compared because their rows have changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from piko.errors import DatabaseUnavailableError
from piko.store.engine import Database
from piko.store.row_changes import config_changes, schedule_changes, state_changes
from piko_operator.changes import Changes
from piko_operator.inventory import JOB_CONFIG, SCHEDULE, Inventory, seen_from
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.store.making import opened

_ROW = "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) VALUES ('job', 'cron', '\"@daily\"')"
_CONFIG = "INSERT INTO job_config (job_id, config_json) VALUES ('job', '{}')"
_WATERMARK = "last_data_time = '2026-01-08 10:00:00'"


@pytest.fixture
async def here(emptied_database: TestDatabase) -> AsyncIterator[Database]:
    async with opened(emptied_database, awaits_tables=True) as database:
        yield database


@pytest.fixture
def inventory() -> Inventory:
    """A schedule and a config of one job."""
    inventory = Inventory()
    for kind in (SCHEDULE, JOB_CONFIG):
        metadata = {"namespace": "data", "name": "orders", "uid": kind, "generation": 1}
        inventory.observe(seen_from({"metadata": metadata, "spec": {"jobId": "job"}}, kind=kind))
    return inventory


def _changes(database: Database, inventory: Inventory, *, interval_s: float = 20) -> Changes:
    return Changes(
        inventory=inventory,
        schedules=schedule_changes(database),
        configs=config_changes(database),
        states=state_changes(database),
        look=lambda *_: None,
        interval_s=interval_s,  # of 20 seconds each third look is complete
    )


def _compared(inventory: Inventory) -> list[str]:
    return sorted(seen.kind for seen in inventory.take_marked(9))


@pytest.mark.parametrize("edit", ["priority = 7", "version = 7", "managed_by = 'test/data/orders/other'"])
async def test_an_edit_is_compared_at_the_next_look_although_the_watermark_moved_with_it(
    here: Database, emptied_database: TestDatabase, inventory: Inventory, edit: str
) -> None:
    await emptied_database.execute(_ROW)
    changes = _changes(here, inventory)
    await changes.update()
    _compared(inventory)
    await emptied_database.execute(f"UPDATE scheduled_job SET {edit}")
    await emptied_database.execute(f"UPDATE scheduled_job SET {_WATERMARK}")
    found = []
    for _ in range(4):
        await changes.update()
        found.append(_compared(inventory))
    assert found == [[SCHEDULE], [], [], []]


async def test_a_row_that_only_the_runtime_has_written_is_never_compared(
    here: Database, emptied_database: TestDatabase, inventory: Inventory
) -> None:
    await emptied_database.execute(_ROW)
    changes = _changes(here, inventory)
    await changes.update()
    _compared(inventory)
    for minute in range(4):
        await emptied_database.execute(
            f"UPDATE scheduled_job SET last_data_time = '2026-01-08 10:0{minute}:00'"
        )
        await changes.update()
        assert _compared(inventory) == [], f"look {minute}"


async def test_a_row_that_sql_has_deleted_is_compared_at_the_next_look(
    here: Database, emptied_database: TestDatabase, inventory: Inventory
) -> None:
    for row in (_ROW, _CONFIG):
        await emptied_database.execute(row)
    changes = _changes(here, inventory)
    await changes.update()
    _compared(inventory)
    for table, kind in (("scheduled_job", SCHEDULE), ("job_config", JOB_CONFIG)):
        await emptied_database.execute(f"DELETE FROM {table}")
        await changes.update()
        assert _compared(inventory) == [kind]


async def test_what_a_look_has_shown_is_compared_although_the_next_table_cannot_be_read(
    here: Database, emptied_database: TestDatabase, inventory: Inventory
) -> None:
    await emptied_database.execute(_ROW)
    changes = _changes(here, inventory)
    await changes.update()
    _compared(inventory)
    await emptied_database.execute("UPDATE scheduled_job SET priority = 7")
    await emptied_database.execute("ALTER TABLE job_config RENAME TO job_config_away")
    try:
        with pytest.raises(DatabaseUnavailableError):
            await changes.update()
    finally:
        await emptied_database.execute("ALTER TABLE job_config_away RENAME TO job_config")
    await changes.update()
    assert _compared(inventory) == [SCHEDULE]


async def test_what_was_compared_before_the_first_look_is_compared_after_it(
    here: Database, emptied_database: TestDatabase, inventory: Inventory
) -> None:
    await emptied_database.execute(_ROW)
    _compared(inventory)
    await emptied_database.execute("UPDATE scheduled_job SET priority = 7")
    changes = _changes(here, inventory)
    await changes.update()
    assert _compared(inventory) == [JOB_CONFIG, SCHEDULE]
    await changes.update()
    assert _compared(inventory) == []


async def test_an_outage_is_known_from_its_begin_to_its_end_although_there_is_no_resource(
    here: Database, emptied_database: TestDatabase
) -> None:
    changes = _changes(here, Inventory(), interval_s=0.01)
    following = asyncio.create_task(changes.run())
    try:
        await emptied_database.execute("ALTER TABLE job_config RENAME TO job_config_away")
        try:
            await wait_until_async(lambda: changes.database_error, what="the outage to be known")
        finally:
            await emptied_database.execute("ALTER TABLE job_config_away RENAME TO job_config")
        await wait_until_async(lambda: changes.database_error is None, what="its end to be known")
    finally:
        following.cancel()
        await asyncio.wait([following])

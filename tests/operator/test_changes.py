"""Which resources are compared because their rows have changed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from piko.store.engine import Database
from piko.store.row_changes import config_changes, schedule_changes, state_changes
from piko_operator.changes import Changes
from piko_operator.inventory import SCHEDULE, Inventory, seen_from
from tests.harness.databases import TestDatabase
from tests.store.making import opened

_ROW = "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) VALUES ('job', 'cron', '\"@daily\"')"
_RESOURCE = {
    "metadata": {"namespace": "data", "name": "orders", "uid": "uid", "generation": 1},
    "spec": {"jobId": "job"},
}


@pytest.fixture
async def here(emptied_database: TestDatabase) -> AsyncIterator[Database]:
    async with opened(emptied_database) as database:
        yield database


@pytest.mark.parametrize("edit", ["", ", priority = 7"], ids=["watermark", "watermark and an edit"])
async def test_a_row_whose_watermark_moved_is_compared_with_the_next_complete_look(
    here: Database, emptied_database: TestDatabase, edit: str
) -> None:
    await emptied_database.execute(_ROW)
    inventory = Inventory()
    inventory.observe(seen_from(_RESOURCE, kind=SCHEDULE))
    changes = Changes(
        inventory=inventory,
        schedules=schedule_changes(here),
        configs=config_changes(here),
        states=state_changes(here),
        look=lambda *_: None,
        interval_s=20,  # each third look is complete
    )
    await changes.update()
    inventory.take_marked(9)
    await emptied_database.execute(f"UPDATE scheduled_job SET last_data_time = '2026-01-08 10:00:00'{edit}")
    for expected in (0, 0, 1, 0):
        await changes.update()
        assert len(inventory.take_marked(9)) == expected

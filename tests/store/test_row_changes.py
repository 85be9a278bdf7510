"""The feed of changed rows, on every database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from piko.store.engine import Database, open_database
from piko.store.row_changes import RowChanges, config_changes, schedule_changes, state_changes
from tests.harness.databases import TestDatabase
from tests.harness.statements import sent_to

_INSERT = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) VALUES ('{}', 'cron', '\"@daily\"')"
)


@pytest.fixture
async def opened(migrated_database: TestDatabase) -> AsyncIterator[Database]:
    handle = open_database(migrated_database.dsn)
    yield handle
    await handle.close()


async def _changed(feed: RowChanges, *, completely: bool = False) -> list[str]:
    return sorted(change.job_id for change in await feed.look(completely=completely))


async def _followed(database: TestDatabase, opened: Database, *job_ids: str) -> RowChanges:
    """A feed of schedules that has begun, with rows of these jobs."""
    feed = schedule_changes(opened)
    for job_id in job_ids:
        await database.execute(_INSERT.format(job_id))
    await feed.look()
    return feed


async def test_a_look_shows_what_was_written_and_deleted_since_the_last_one_and_only_once(
    migrated_database: TestDatabase, opened: Database
) -> None:
    feed = schedule_changes(opened)
    for name in ("a", "b", "c"):
        await migrated_database.execute(_INSERT.format(name))
    assert await _changed(feed) == [], "the first look is where it begins"
    assert await _changed(feed) == []

    await migrated_database.execute("UPDATE scheduled_job SET priority = 5 WHERE job_id = 'a'")
    (change,) = await feed.look()
    assert (change.job_id, change.is_edit) == ("a", True), "with the version as it was"
    assert await _changed(feed) == []

    await migrated_database.execute("DELETE FROM scheduled_job WHERE job_id = 'b'")
    await migrated_database.execute(_INSERT.format("d"))
    changes = {change.job_id: (change.before, change.after) for change in await feed.look()}
    assert {job_id: after is not None for job_id, (_, after) in changes.items()} == {"b": False, "d": True}
    assert changes["d"][0] is None
    assert await _changed(feed) == []


async def test_a_look_finds_what_was_dated_before_the_overlap(
    migrated_database: TestDatabase, opened: Database
) -> None:
    feed = await _followed(migrated_database, opened, "a", "b")
    # As a transaction that was open for long leaves it, or somebody who sets the time.
    dated = "updated_at = '2026-01-08 10:00:00.000001'"
    await migrated_database.execute(f"UPDATE scheduled_job SET priority = 5, {dated} WHERE job_id = 'a'")
    assert await _changed(feed) == ["a"]
    assert await _changed(feed) == []
    await migrated_database.execute("UPDATE scheduled_job SET priority = 6 WHERE job_id = 'b'")
    await migrated_database.execute(
        f"UPDATE scheduled_job SET priority = 6, {dated[:-2]}2' WHERE job_id = 'a'"
    )
    assert await _changed(feed) == ["a", "b"]


async def test_watermarks_that_move_cost_one_statement_a_look(
    migrated_database: TestDatabase, opened: Database
) -> None:
    feed = await _followed(migrated_database, opened, "a", "b")
    with sent_to(migrated_database, of="SELECT scheduled_job.job_id") as sent:
        for minute in range(3):
            moved = f"UPDATE scheduled_job SET last_data_time = '2026-01-08 10:0{minute}:00'"
            await migrated_database.execute(moved)
            assert await _changed(feed) == ["a", "b"]
    assert len(sent) == 3, "no look was complete"


async def test_rows_that_this_program_deletes_cost_one_statement_a_look(
    migrated_database: TestDatabase, opened: Database
) -> None:
    feed = await _followed(migrated_database, opened, "a", "b", "c", "d")
    with sent_to(migrated_database, of="SELECT scheduled_job.job_id") as sent:
        await migrated_database.execute("DELETE FROM scheduled_job WHERE job_id = 'b'")
        feed.deleted(["b", "never there"])
        (change,) = await feed.look()
        assert (change.job_id, change.after) == ("b", None)
        await migrated_database.execute("DELETE FROM scheduled_job WHERE job_id IN ('a', 'c')")
        feed.deleted(["a", "c"])
        await migrated_database.execute(_INSERT.format("b"))
        assert await _changed(feed) == ["a", "b", "c"]
        assert await _changed(feed) == []
    assert len(sent) == 3, "no look was complete"


async def test_what_others_delete_or_make_again_is_seen_beside_what_this_program_has_deleted(
    migrated_database: TestDatabase, opened: Database
) -> None:
    feed = await _followed(migrated_database, opened, "a", "b", "c")
    await migrated_database.execute("DELETE FROM scheduled_job WHERE job_id IN ('a', 'b')")
    feed.deleted(["a"])
    assert await _changed(feed) == ["a", "b"], "b by somebody else"

    await migrated_database.execute("DELETE FROM scheduled_job WHERE job_id = 'c'")
    feed.deleted(["c"])
    await migrated_database.execute(_INSERT.format("c"))
    with sent_to(migrated_database, of="SELECT scheduled_job.job_id") as sent:
        (change,) = await feed.look()
    assert (change.job_id, change.is_edit, change.after is None) == ("c", True, False)
    assert len(sent) == 1, "the look was not complete"

    feed.deleted(["c"])
    assert await _changed(feed) == [], "it is there"
    await migrated_database.execute("UPDATE scheduled_job SET priority = 5 WHERE job_id = 'c'")
    assert await _changed(feed) == ["c"]


@pytest.mark.parametrize(
    ("written", "is_edit"),
    [
        ("last_data_time = '2026-01-08 10:00:00'", False),
        ("completed_at = '2026-01-08 10:00:00'", False),
        ("last_data_time = '2026-01-08 10:00:00', priority = 5", True),
        ("last_data_time = '2026-01-08 10:00:00', concurrency_group = 'loads'", True),
        ("last_data_time = '2026-01-08 10:00:00', managed_by = 'test/data/orders/uid'", True),
        ("last_data_time = '2026-01-08 10:00:00', version = version + 1", True),
    ],
)
async def test_an_edit_is_told_from_what_the_runtime_writes_whatever_falls_together(
    migrated_database: TestDatabase, opened: Database, written: str, is_edit: bool
) -> None:
    feed = await _followed(migrated_database, opened, "a")
    await migrated_database.execute(f"UPDATE scheduled_job SET {written}")
    assert [change.is_edit for change in await feed.look()] == [is_edit]


async def test_a_complete_look_finds_an_edit_that_kept_version_and_time(
    migrated_database: TestDatabase, opened: Database
) -> None:
    feed = config_changes(opened)
    insert = "INSERT INTO job_config (job_id, config_json) VALUES ('a', '{}')"
    await migrated_database.execute(insert)
    await feed.look()
    await migrated_database.execute(
        "UPDATE job_config SET secret_json = '{\"a\": 1}', updated_at = updated_at"
    )
    (change,) = await feed.look(completely=True)
    assert change.is_edit


async def test_the_runtimes_states_are_followed_too(
    migrated_database: TestDatabase, opened: Database
) -> None:
    feed = state_changes(opened)
    await feed.look()
    await migrated_database.execute("INSERT INTO job_state (job_id, status) VALUES ('a', 'Scheduled')")
    assert await _changed(feed) == ["a"]
    await migrated_database.execute("UPDATE job_state SET status = 'Disabled'")
    assert await _changed(feed) == ["a"]

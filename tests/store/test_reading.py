"""Schedules and configs as the runtime reads them; revisions, instances and definitions as it writes them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.exc import DBAPIError

from piko.errors import FencedError
from piko.model.configs import ConfigRevision
from piko.model.definitions import DefinitionRow, Published
from piko.model.schedules import ScheduleRow
from piko.store.configs import ConfigStore
from piko.store.definitions import DefinitionStore
from piko.store.engine import Database
from piko.store.instances import InstanceStore
from piko.store.pages import PAGE
from piko.store.schedules import ScheduleStore
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.store.making import NOW, count, lead, make_instance, schedule_windows
from tests.store.poison import WORDS, refusing

_HOURLY = "('job', 'cron', '\"@hourly\"')"

# ---- schedules ------------------------------------------------------------------------------------


async def test_a_row_that_leaves_columns_out_is_read_with_their_defaults(
    store: Database, emptied_database: TestDatabase
) -> None:
    await schedule_windows(emptied_database, watermark=NOW.replace(microsecond=0))
    (row,) = await ScheduleStore(database=store).read(["windows", "gone"])
    assert (row.enabled, row.coalesce, row.overlap_policy, row.max_instances) == (True, True, "skip", 1)
    assert row.last_data_time == NOW.replace(microsecond=0)
    assert (row.timezone, row.timeout_s, row.max_lookback_s) == (None, None, None)


async def test_every_kind_of_edit_shows_in_the_digests(
    store: Database, emptied_database: TestDatabase
) -> None:
    schedules = ScheduleStore(database=store)
    seen = [await schedules.digests()]
    for edit in (
        f"INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) VALUES {_HOURLY}",
        "UPDATE scheduled_job SET enabled = 0",
        "UPDATE scheduled_job SET version = version + 1",
        "DELETE FROM scheduled_job",
    ):
        await emptied_database.execute(edit)
        seen.append(await schedules.digests())
    assert seen[0] == seen[4] == {}
    assert len({str(digests) for digests in seen[:4]}) == 4
    assert seen[3]["job"][0] == 2


async def test_more_rows_than_one_statement_takes_are_all_read(
    store: Database, emptied_database: TestDatabase
) -> None:
    ids = [f"job-{number:04d}" for number in range(2500)]
    values = ", ".join(f"('{job_id}', 'cron', '\"@hourly\"')" for job_id in ids)
    await emptied_database.execute(
        f"INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) VALUES {values}"
    )
    assert [row.job_id for row in await ScheduleStore(database=store).read(ids)] == ids
    assert (await ScheduleStore(database=store).digests()).keys() == set(ids)


async def test_pages_hold_each_row_once_as_it_is_read_alone(
    store: Database, emptied_database: TestDatabase
) -> None:
    ids = [f"job-{number:04d}" for number in range(2 * PAGE)]
    values = ", ".join(f"('{job_id}', 'cron', '\"@hourly\"', '2026-01-08 10:00:00')" for job_id in ids)
    await emptied_database.execute(
        f"INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, start_at) VALUES {values}"
    )
    await emptied_database.execute(
        "UPDATE scheduled_job SET timezone = 'Asia/Shanghai', enabled = 0, coalesce = 0, jitter_s = 1.5, "
        "timeout_s = 3, max_attempts = 2, start_at = NULL, end_at = '2027-01-08 10:00:00.123456' "
        "WHERE job_id = 'job-0700'"
    )
    schedules = ScheduleStore(database=store)
    found: list[ScheduleRow] = []
    while page := await schedules.page(after=found[-1].job_id if found else ""):
        found += page
    assert [row.job_id for row in found] == ids
    assert found == await schedules.read(ids)
    assert found[0].misfire_grace_s is found[-1].misfire_grace_s, "equal values are one object"
    assert (found[700].enabled, found[700].coalesce, found[0].enabled) == (False, False, True)


# ---- configs --------------------------------------------------------------------------------------


def make_revision(revision: int = 1, **values: object) -> ConfigRevision:
    known: dict[str, object] = {
        "job_id": "job",
        "revision": revision,
        "content_hash": f"hash-{revision}",
        "schema_version": 1,
        "config_json": f'{{"size": {revision}}}',
        "secret_json": None,
        "effective_from": NOW,
        "row_version": 1,
        "author": None,
        "source": "sql",
        "error": None,
        "created_at": NOW,
        **values,
    }
    return ConfigRevision(**known)  # type: ignore[arg-type]


async def test_configs_are_read_as_they_were_written(store: Database, emptied_database: TestDatabase) -> None:
    configs = ConfigStore(database=store)
    await emptied_database.execute(
        """INSERT INTO job_config (job_id, config_json, secret_json, updated_by, effective_from)
        VALUES ('job', '{"name": "Ada"}', '{"token": "s3cret"}', 'ada', '2026-01-08 10:00:00')"""
    )
    (row,) = await configs.read(["job", "gone"])
    assert (row.config_json, row.updated_by) == ('{"name": "Ada"}', "ada")
    assert row.effective_from == NOW.replace(microsecond=0)
    assert "s3cret" not in repr(row)
    assert await configs.digests() == {"job": row.digest}
    await emptied_database.execute("UPDATE job_config SET updated_by = 'eve'")
    assert await configs.digests() != {"job": row.digest}


async def test_a_revision_is_recorded_once(store: Database, emptied_database: TestDatabase) -> None:
    configs, fence = ConfigStore(database=store), await lead(store)
    first, second = make_revision(1), make_revision(2, error="it does not fit")
    await configs.record([first], fence)
    await configs.record([first, second], fence)
    await configs.record([], fence)
    assert await configs.revisions(["job"]) == [first, second]
    await configs.record([replace(first, config_json='{"size": 9}')], fence)
    assert await configs.revisions(["job"]) == [first, second], "what was recorded is history"
    assert await configs.revisions(["gone"]) == []


async def test_a_deposed_leader_cannot_record_configs(
    store: Database, emptied_database: TestDatabase
) -> None:
    old = await lead(store)
    await lead(store, "two")
    with pytest.raises(FencedError):
        await ConfigStore(database=store).record([make_revision()], old)
    assert await count(emptied_database, "job_config_revision") == 0


# ---- instances ------------------------------------------------------------------------------------


async def test_instances_live_while_they_are_heard_of_by_the_clock_of_the_database(
    store: Database, emptied_database: TestDatabase
) -> None:
    instances = InstanceStore(database=store)
    for name in ("beats", "stops", "is silent"):
        await instances.beat(make_instance(name))
        await instances.beat(make_instance(name))
    await instances.stop(make_instance("stops"))
    await emptied_database.execute(
        "UPDATE runtime_instance SET heartbeat_at = '2001-01-01 00:00:00' WHERE instance_id = 'is silent'"
    )
    assert await instances.living(within_s=60) == {"beats": 0}
    await instances.beat(make_instance("is silent"))
    assert await instances.living(within_s=60) == {"beats": 0, "is silent": 0}
    assert await count(emptied_database, "runtime_instance") == 3

    async def nobody() -> bool:
        return not await instances.living(within_s=0.01)

    await wait_until_async(nobody, what="the heartbeats to grow old")


async def test_instances_that_are_silent_for_long_are_forgotten(
    store: Database, emptied_database: TestDatabase
) -> None:
    instances = InstanceStore(database=store)
    for name in ("new", "old"):
        await instances.beat(make_instance(name))
    await emptied_database.execute(
        "UPDATE runtime_instance SET heartbeat_at = '2001-01-01 00:00:00' WHERE instance_id = 'old'"
    )
    await instances.prune(older_than_s=3600)
    assert await emptied_database.execute("SELECT instance_id FROM runtime_instance") == [("new",)]


# ---- definitions ----------------------------------------------------------------------------------


def make_definition(job_id: str, content: str = "first", instance: str = "one") -> DefinitionRow:
    return DefinitionRow(
        job_id=job_id,
        app="demo",
        handler="app:handler",
        stateful=False,
        backfill_policy=None,
        config_schema='{"type": "object"}',
        content_hash=content,
        instance_id=instance,
    )


async def test_only_definitions_that_differ_are_published(store: Database) -> None:
    definitions = DefinitionStore(database=store)
    a, b = make_definition("a"), make_definition("b")
    assert await definitions.publish([]) == Published()
    assert await definitions.publish([a, b]) == Published(changed=2)
    second = make_definition("b", "second")
    assert await definitions.publish([a, second]) == Published(changed=1)
    assert await definitions.publish([a, second]) == Published()


async def test_a_definition_that_the_database_refuses_keeps_no_other_from_being_published(
    store: Database, emptied_database: TestDatabase
) -> None:
    definitions = DefinitionStore(database=store)
    rows = [make_definition(name) for name in ("a", "bad", "c")]
    async with refusing(emptied_database, "INSERT", "job_definition"):
        published = await definitions.publish(rows)
        assert (published.changed, set(published.refused)) == (2, {"bad"})
        assert WORDS in published.refused["bad"]
        with pytest.raises(DBAPIError):
            await definitions.publish([make_definition("bad")])
    assert (await definitions.publish(rows)).changed == 1


async def test_replicas_that_start_together_publish_side_by_side(
    store: Database, emptied_database: TestDatabase
) -> None:
    definitions = DefinitionStore(database=store)
    names = [f"job-{number}" for number in range(30)]
    await asyncio.gather(
        *(
            definitions.publish([make_definition(name, instance=str(replica)) for name in names[::step]])
            for replica, step in enumerate((1, -1, 1, -1))
        )
    )
    assert await count(emptied_database, "job_definition") == len(names)

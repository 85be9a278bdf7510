"""From when on data is late is written down by the leader, and is what rows and schedule say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.catalog.other_replicas import OtherReplicas
from piko.catalog.reconciler import Reconciler
from piko.clock import SystemClock
from piko.errors import FencedError
from piko.leadership.database_lease import DatabaseLease
from piko.leadership.elector import Elector
from piko.model.definitions import DefinitionRow
from piko.model.fences import Fence
from piko.model.objectives import NEVER, data_late_at
from piko.observability.metrics import Metrics
from piko.scheduler.data_deadlines import DataDeadlines
from piko.store.configs import ConfigStore
from piko.store.data_deadlines import DataDeadlineStore
from piko.store.definitions import DefinitionStore
from piko.store.engine import Database
from piko.store.leases import LeaseStore
from piko.store.schedules import ScheduleStore
from tests.harness.databases import TestDatabase
from tests.scheduler.making import registry
from tests.store.making import LEASE, lead, make_instance, written

_JOBS = 45
"""More than are looked at in turn: so what was edited is found because it was edited."""
_EDITS = 36
_BEGIN = datetime(2026, 1, 8, tzinfo=UTC)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leading:
    """A replica that leads: what it knows of the rows, and what it writes down of them."""

    store: DataDeadlineStore
    reconciler: Reconciler
    part: DataDeadlines
    fence: Fence

    async def round(self) -> None:
        """Compare the rows, and then find what is to be found again."""
        await self.reconciler.compare()
        await self.part.look(self.fence)

    async def written(self, job_id: str) -> datetime | None:
        found = await self.store.read([job_id])
        return found[job_id].written


def leading_over(database: Database, fence: Fence) -> Leading:
    clock, metrics, catalog, instance = SystemClock(), Metrics(), Catalog(), make_instance()
    jobs = registry()
    lease = DatabaseLease(
        rows=LeaseStore(database=database), name=LEASE, instance=instance, lease_s=60, renew_interval_s=5
    )
    store = DataDeadlineStore(database=database)
    return Leading(
        store=store,
        fence=fence,
        reconciler=Reconciler(
            schedules=ScheduleStore(database=database),
            config_rows=ConfigStore(database=database),
            registry=jobs,
            catalog=catalog,
            configs=ConfigBook(registry=jobs),
            clock=clock,
            metrics=metrics,
            other_replicas=OtherReplicas(
                definitions=DefinitionStore(database=database),
                instance=instance,
                clock=clock,
                heartbeat_interval_s=5,
            ),
            poll_interval_s=1.0,
            timezone="UTC",
        ),
        part=DataDeadlines(
            store=store,
            catalog=catalog,
            elector=Elector(lease=lease, lease_name=LEASE, instance=instance, clock=clock, metrics=metrics),
            clock=clock,
            metrics=metrics,
            timezone="UTC",
        ),
    )


@pytest.fixture
async def leading(store: Database, emptied_database: TestDatabase) -> Leading:
    rows, definitions = [], []
    for number in range(_JOBS):
        watermark = f"'{written(_BEGIN + number * _HOUR)}'" if number % 2 else "NULL"
        within = str(60 * number) if number % 5 == 0 and number else "NULL"
        rows.append(f"('job-{number:02}', 'cron', '\"@hourly\"', {watermark}, {within}, '{written(_BEGIN)}')")
        definitions.append(f"('job-{number:02}', 'demo', 'app:job', {number % 2}, 'h', 'one')")
    await emptied_database.execute(
        "INSERT INTO scheduled_job "
        "(job_id, schedule_type, schedule_expr, last_data_time, data_within_s, created_at) "
        f"VALUES {', '.join(rows)}"
    )
    await emptied_database.execute(
        "INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id) "
        f"VALUES {', '.join(definitions)}"
    )
    return leading_over(store, await lead(store))


def _edit(chance: Random, watermark: datetime) -> str:
    """What somebody writes into a row by SQL."""
    said = f"'{written(watermark)}'"
    return chance.choice(
        [
            f"last_data_time = {said}",
            "last_data_time = NULL",
            f"data_within_s = {chance.randrange(1, 100_000)}",
            "data_within_s = NULL",
            "finish_within_s = 60",
            "schedule_expr = '\"*/5 * * * *\"'",
            "schedule_expr = '\"0 6 * * mon\"'",
            "schedule_expr = '\"no schedule\"'",
            "timezone = 'Europe/Berlin'",
            f"end_at = {said}",
            "end_at = NULL",
            "enabled = 1 - enabled",
            f"created_at = {said}",
        ]
    )


@pytest.mark.parametrize("seed", range(2))
async def test_what_is_written_is_what_the_rows_say_after_any_edit_and_never_later_after_progress(
    leading: Leading, emptied_database: TestDatabase, seed: int
) -> None:
    chance, job_ids = Random(seed), [f"job-{number:02}" for number in range(_JOBS)]
    await leading.round()
    for step in range(_EDITS):
        job_id = chance.choice(job_ids)
        moment = _BEGIN + timedelta(minutes=chance.randrange(200_000))
        progress = step % 3 == 0
        change = _edit(chance, moment)
        if progress:
            change = f"last_data_time = '{written(moment)}'"
            rows = await leading.store.read([job_id])
            before = rows[job_id].job.last_data_time
            if before is not None and moment < before:
                continue
        await emptied_database.execute(f"UPDATE scheduled_job SET {change} WHERE job_id = '{job_id}'")
        await leading.round()
        found = await leading.store.read(job_ids)
        expected = {key: data_late_at(data.job) for key, data in found.items()}
        assert (found[job_id].written or NEVER) <= expected[job_id], change
        if not progress:
            assert found[job_id].written == expected[job_id], change
        late = [key for key, data in found.items() if data.written is None or data.written > expected[key]]
        assert late == [], change


async def test_a_new_job_has_a_deadline_after_a_round_and_a_deleted_one_has_none(
    leading: Leading, emptied_database: TestDatabase
) -> None:
    await leading.round()
    assert await leading.written("job-03") == _BEGIN + 5 * _HOUR + timedelta(seconds=30)
    assert await leading.written("job-02") == NEVER
    assert await leading.store.astray(limit=10) == []
    await emptied_database.execute("DELETE FROM scheduled_job WHERE job_id = 'job-03'")
    await emptied_database.execute(
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, data_within_s, created_at) "
        "VALUES ('new', 'cron', '\"@hourly\"', 60, '2026-01-08 00:00:00')"
    )
    await leading.round()
    rows = await emptied_database.execute("SELECT job_id FROM data_deadline")
    assert {row[0] for row in rows} == {f"job-{n:02}" for n in range(_JOBS) if n != 3} | {"new"}
    assert await leading.written("new") == _BEGIN + _HOUR + timedelta(minutes=1)


async def test_rows_that_the_reconciler_did_not_name_are_found_as_well(
    leading: Leading, emptied_database: TestDatabase
) -> None:
    for _ in range(3):  # nobody has compared the rows
        await leading.part.look(leading.fence)
    assert await leading.store.astray(limit=10) == []
    await emptied_database.execute("UPDATE data_deadline SET late_at = '9999-01-01 00:00:00'")
    for _ in range(_JOBS // 20 + 1):
        await leading.part.look(leading.fence)
    assert await leading.written("job-03") == _BEGIN + 5 * _HOUR + timedelta(seconds=30)


async def test_an_instant_that_is_about_to_pass_is_found_again(
    leading: Leading, emptied_database: TestDatabase
) -> None:
    await leading.round()
    await emptied_database.execute(
        "UPDATE scheduled_job SET last_data_time = '2999-01-01 00:00:00' WHERE job_id >= 'job-30'"
    )
    await leading.part.look(leading.fence)
    assert await leading.written("job-31") == datetime(2999, 1, 1, 2, 0, 30, tzinfo=UTC)


async def test_a_definition_that_is_published_has_the_deadline_of_its_job_found_again(
    leading: Leading, store: Database
) -> None:
    await leading.round()
    assert await leading.written("job-02") == NEVER
    published = DefinitionRow(
        job_id="job-02",
        app="demo",
        handler="app:job",
        config_schema=None,
        stateful=False,
        backfill_policy=None,
        data_within_s=60.0,
        content_hash="other",
        instance_id="one",
    )
    await DefinitionStore(database=store).publish([published])
    assert await leading.written("job-02") is None, "until then who reads looks at every row"
    await leading.round()
    assert await leading.written("job-02") == _BEGIN + _HOUR + timedelta(minutes=1)


async def test_a_deposed_leader_writes_nothing(
    leading: Leading, store: Database, emptied_database: TestDatabase
) -> None:
    await lead(store, "two")
    await leading.reconciler.compare()
    with pytest.raises(FencedError):
        await leading.part.look(leading.fence)
    assert await emptied_database.execute("SELECT job_id FROM data_deadline") == []

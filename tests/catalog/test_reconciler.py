from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import text

from piko.catalog.catalog import Catalog
from piko.catalog.configs import ConfigBook
from piko.catalog.other_replicas import OtherReplicas
from piko.catalog.reconciler import Reconciler
from piko.clock import SystemClock
from piko.core.types import JobStatus
from piko.errors import ConfigError
from piko.model.definitions import DefinitionRow
from piko.model.instances import Instance
from piko.observability.metrics import Metrics
from piko.store.configs import ConfigStore
from piko.store.definitions import DefinitionStore
from piko.store.engine import Database, open_database
from piko.store.instances import InstanceStore
from piko.store.pages import PAGE
from piko.store.schedules import ScheduleStore
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.statements import sent_to
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.scheduler.making import NOON, definition, registry
from tests.store.making import make_instance


class Config(BaseModel):
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What a replica understands of the rows."""

    database: Database
    catalog: Catalog
    configs: ConfigBook
    metrics: Metrics
    reconciler: Reconciler

    async def compare(self) -> set[str]:
        """One pass; the jobs that changed."""
        await self.reconciler.compare()
        return self.catalog.take_changed()

    def status(self, job_id: str) -> JobStatus:
        return self.catalog.assessed_rows[job_id].status

    def config(self, job_id: str = "a") -> object:
        found = definition(job_id, schema=Config)
        return self.configs.in_force(found, NOON).value


@asynccontextmanager
async def replica_of(dsn: str, *, poll_interval_s: float = 0.05) -> AsyncIterator[Replica]:
    database = open_database(dsn)
    jobs = registry(*(definition(job_id, schema=Config) for job_id in ("a", "b", "c")))
    catalog, configs, metrics = Catalog(), ConfigBook(registry=jobs), Metrics()
    reconciler = Reconciler(
        schedules=ScheduleStore(database=database),
        config_rows=ConfigStore(database=database),
        registry=jobs,
        catalog=catalog,
        configs=configs,
        clock=SystemClock(),
        metrics=metrics,
        other_replicas=OtherReplicas(
            definitions=DefinitionStore(database=database),
            instance=make_instance("here"),
            clock=SystemClock(),
            heartbeat_interval_s=5,
        ),
        poll_interval_s=poll_interval_s,
        timezone="UTC",
    )
    try:
        yield Replica(
            database=database, catalog=catalog, configs=configs, metrics=metrics, reconciler=reconciler
        )
    finally:
        await database.close()


@asynccontextmanager
async def running(part: Reconciler) -> AsyncIterator[None]:
    task = asyncio.create_task(part.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def replica(emptied_database: TestDatabase) -> AsyncIterator[Replica]:
    async with replica_of(emptied_database.dsn) as made:
        yield made


@pytest.fixture
def sql(emptied_database: TestDatabase) -> Callable[[str], Awaitable[object]]:
    return emptied_database.execute


Sql = Callable[[str], Awaitable[object]]


async def insert(sql: Sql, *job_ids: str, expression: str = '{"seconds": 10}') -> None:
    rows = ", ".join(f"('{job_id}', 'interval', '{expression}')" for job_id in job_ids)
    await sql(f"INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) VALUES {rows}")


async def configure(sql: Sql, config: str, *, job_id: str = "a") -> None:
    await sql(f"DELETE FROM job_config WHERE job_id = '{job_id}'")
    await sql(f"INSERT INTO job_config (job_id, config_json) VALUES ('{job_id}', '{config}')")


# ---- schedules --------------------------------------------------------------------------------------


async def test_rows_are_understood_and_then_left_alone(replica: Replica, sql: Sql) -> None:
    assert not replica.catalog.loaded
    await insert(sql, "a", "b", "stranger")

    assert await replica.compare() == {"a", "b", "stranger"}
    assert replica.catalog.loaded
    assert replica.status("a") is JobStatus.SCHEDULED
    assert replica.status("stranger") is JobStatus.UNREGISTERED
    assert await replica.compare() == set()


async def test_no_rows_are_a_plan_too(replica: Replica) -> None:
    assert await replica.compare() == set()
    assert replica.catalog.loaded


@pytest.mark.parametrize("raised", ["", ", version = version + 1"], ids=["same version", "version raised"])
async def test_an_edit_is_seen_whether_or_not_its_version_was_raised(
    replica: Replica, sql: Sql, raised: str
) -> None:
    await insert(sql, "a", "b")
    await replica.compare()
    await sql(f"UPDATE scheduled_job SET enabled = 0{raised} WHERE job_id = 'a'")

    assert await replica.compare() == {"a"}
    assert replica.status("a") is JobStatus.DISABLED


async def test_two_edits_in_one_moment_are_both_seen(replica: Replica, sql: Sql) -> None:
    await insert(sql, "a")
    for priority in range(5):
        await sql(f"UPDATE scheduled_job SET priority = {priority} WHERE job_id = 'a'")
        await replica.compare()
        assert replica.catalog.assessed_rows["a"].row.priority == priority


async def test_a_version_that_was_lowered_counts(replica: Replica, sql: Sql) -> None:
    await insert(sql, "a")
    await sql("UPDATE scheduled_job SET version = 9 WHERE job_id = 'a'")
    await replica.compare()
    await sql("UPDATE scheduled_job SET version = 1, enabled = 0 WHERE job_id = 'a'")

    assert await replica.compare() == {"a"}


async def test_a_deleted_row_leaves_the_plan_and_the_metrics(replica: Replica, sql: Sql) -> None:
    await insert(sql, "a", "b")
    await replica.compare()
    replica.metrics.job_next_run.set("a", datetime.fromtimestamp(1, UTC))
    await sql("DELETE FROM scheduled_job WHERE job_id = 'a'")

    assert await replica.compare() == {"a"}
    assert list(replica.catalog.assessed_rows) == ["b"]
    labels = {"job_id": "a"}
    assert replica.metrics.registry.get_sample_value("piko_job_next_run_timestamp_seconds", labels) is None


async def test_a_row_that_was_deleted_and_written_again_is_a_change(replica: Replica, sql: Sql) -> None:
    await insert(sql, "a")
    await replica.compare()
    await sql("DELETE FROM scheduled_job")
    await insert(sql, "a", expression='{"hours": 1}')

    assert await replica.compare() == {"a"}
    assert replica.catalog.assessed_rows["a"].row.schedule_expr == '{"hours": 1}'


async def test_a_slow_transaction_that_commits_late_is_seen(mariadb: TestDatabase) -> None:
    await upgrade(mariadb.dsn)
    await insert(mariadb.execute, "a", "b")
    async with replica_of(mariadb.dsn) as replica:
        await replica.compare()
        async with replica.database.transaction() as slow:
            await slow.execute(text("UPDATE scheduled_job SET priority = 1 WHERE job_id = 'a'"))
            await mariadb.execute("UPDATE scheduled_job SET priority = 2 WHERE job_id = 'b'")
            assert await replica.compare() == {"b"}
        stamps = await mariadb.execute("SELECT updated_at FROM scheduled_job ORDER BY job_id")

        assert stamps[0] < stamps[1], "what is committed last was written first"
        assert await replica.compare() == {"a"}


@pytest.fixture
async def many(mariadb: TestDatabase) -> AsyncIterator[Replica]:
    """A replica that knows three thousand rows."""
    await upgrade(mariadb.dsn)
    await insert(mariadb.execute, *(f"job-{number}" for number in range(3000)))
    async with replica_of(mariadb.dsn) as made:
        await made.compare()
        yield made


def pages(sent: list[tuple[str, Any]]) -> int:
    """How many of the statements read digests of all rows, a page each."""
    return sum("LIMIT" in statement for statement, _ in sent)


async def test_the_first_pass_reads_each_row_once(mariadb: TestDatabase) -> None:
    await upgrade(mariadb.dsn)
    await insert(mariadb.execute, *(f"job-{number}" for number in range(3000)))
    async with replica_of(mariadb.dsn) as replica:
        with sent_to(mariadb, of="scheduled_job") as sent:
            await replica.compare()

    assert len(replica.catalog.assessed_rows) == 3000
    assert pages(sent) == len(sent) - 1 == 3000 // PAGE + 1, "one more asks what time it is"


async def test_an_edit_while_the_rows_are_read_first_is_found_by_the_next_pass(mariadb: TestDatabase) -> None:
    await upgrade(mariadb.dsn)
    await insert(mariadb.execute, *(f"job-{number:04d}" for number in range(3000)))
    async with replica_of(mariadb.dsn) as replica:
        loading = asyncio.create_task(replica.compare())
        await wait_until_async(lambda: bool(replica.catalog.assessed_rows), what="the first rows are known")
        await mariadb.execute("UPDATE scheduled_job SET priority = 7 WHERE job_id = 'job-0000'")
        await mariadb.execute("DELETE FROM scheduled_job WHERE job_id = 'job-0001'")
        await loading
        await replica.compare()

        assert replica.catalog.assessed_rows["job-0000"].row.priority == 7
        assert "job-0001" not in replica.catalog.assessed_rows


async def test_a_pass_without_a_change_reads_no_digests_of_all_rows(
    many: Replica, mariadb: TestDatabase
) -> None:
    with sent_to(mariadb, of="scheduled_job") as sent:
        for _ in range(3):
            assert await many.compare() == set()

    assert sent
    assert pages(sent) == 0


async def test_edits_and_new_rows_are_found_without_the_digests_of_all_rows(
    many: Replica, mariadb: TestDatabase
) -> None:
    with sent_to(mariadb, of="scheduled_job") as sent:
        await mariadb.execute("UPDATE scheduled_job SET priority = 7 WHERE job_id IN ('job-7', 'job-2000')")
        await insert(mariadb.execute, "new")
        assert await many.compare() == {"job-7", "job-2000", "new"}
        assert await many.compare() == set()

    assert pages(sent) == 0


async def test_one_row_deleted_beside_one_written_shows_in_the_number_of_rows(
    many: Replica, mariadb: TestDatabase
) -> None:
    async with many.database.transaction() as both:
        await both.execute(text("DELETE FROM scheduled_job WHERE job_id = 'job-1234'"))
        await both.execute(
            text(
                "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) "
                "VALUES ('new', 'interval', '{\"seconds\" \\: 10}')"
            )
        )

    assert await many.compare() == {"job-1234", "new"}
    assert await many.compare() == set()


async def test_a_time_that_was_set_far_back_shows_in_the_checksum(
    many: Replica, mariadb: TestDatabase
) -> None:
    back = "priority = 7, updated_at = '2020-01-01 00:00:00'"
    await mariadb.execute(f"UPDATE scheduled_job SET {back} WHERE job_id = 'job-3'")
    for _ in range(61):
        if "job-3" in await many.compare():
            break

    assert many.catalog.assessed_rows["job-3"].row.priority == 7


async def test_an_edit_that_puts_its_stamp_back_is_found_in_turn(
    replica: Replica, sql: Sql, emptied_database: TestDatabase
) -> None:
    await insert(sql, "a", "b")
    await replica.compare()
    ((stamp,),) = await emptied_database.execute("SELECT updated_at FROM scheduled_job WHERE job_id = 'a'")
    await sql(f"UPDATE scheduled_job SET enabled = 0, updated_at = '{stamp}' WHERE job_id = 'a'")
    changed = await replica.compare() | await replica.compare()

    assert changed == {"a"}
    assert replica.status("a") is JobStatus.DISABLED


async def test_a_row_that_is_doubted_is_logged_again(replica: Replica, sql: Sql) -> None:
    await insert(sql, "a", "b")
    await replica.compare()
    replica.catalog.doubted |= {"a", "gone"}

    assert await replica.compare() == {"a"}
    assert await replica.compare() == set()


async def test_a_bad_row_hurts_only_itself_until_it_is_repaired(replica: Replica, sql: Sql) -> None:
    await insert(sql, "a", expression='{"seconds": -1}')
    await insert(sql, "b")
    await sql("UPDATE scheduled_job SET timezone = 'Mars/Olympus' WHERE job_id = 'b'")
    await insert(sql, "c")
    await replica.compare()

    assert [replica.status(job_id) for job_id in ("a", "b", "c")] == [
        JobStatus.INVALID,
        JobStatus.INVALID,
        JobStatus.SCHEDULED,
    ]
    assert "Mars/Olympus" in (replica.catalog.assessed_rows["b"].message or "")
    assert replica.metrics.registry.get_sample_value("piko_invalid_rows") == 2
    await sql("UPDATE scheduled_job SET timezone = NULL WHERE job_id = 'b'")
    assert await replica.compare() == {"b"}
    assert replica.status("b") is JobStatus.SCHEDULED
    assert replica.metrics.registry.get_sample_value("piko_invalid_rows") == 1


async def test_thousands_of_rows_are_read_without_stopping_the_event_loop(replica: Replica, sql: Sql) -> None:
    await insert(sql, *(f"job-{number}" for number in range(2000)))
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.005)
            longest = max(longest, time.thread_time() - before)

    # In processor seconds of this thread: how long the machine does something else is none of its business.
    heart = asyncio.create_task(beat())
    before = time.thread_time()
    assert len(await replica.compare()) == 2000
    first = time.thread_time() - before
    assert await replica.compare() == set()
    second = time.thread_time() - before - first
    heart.cancel()
    assert first < 5
    assert second < 1
    assert longest < 1
    await sql("UPDATE scheduled_job SET priority = 5 WHERE job_id = 'job-1234'")
    assert await replica.compare() == {"job-1234"}


# ---- configs ----------------------------------------------------------------------------------------


async def test_a_config_is_followed_and_a_deleted_one_leaves_the_defaults(replica: Replica, sql: Sql) -> None:
    await configure(sql, '{"limit": 1}')
    await replica.compare()
    assert replica.config() == Config(limit=1)

    await sql("""UPDATE job_config SET config_json = '{"limit": 2}' WHERE job_id = 'a'""")
    await replica.compare()
    assert replica.config() == Config(limit=2)

    await sql("DELETE FROM job_config")
    await replica.compare()
    with pytest.raises(ConfigError, match="no job_config is in force"):
        replica.config()


async def test_an_invalid_config_leaves_the_valid_one_and_its_neighbours_alone(
    replica: Replica, sql: Sql
) -> None:
    await configure(sql, '{"limit": 1}')
    await configure(sql, '{"limit": 7}', job_id="b")
    await replica.compare()
    await configure(sql, '{"limit": "many"}')
    await replica.compare()

    assert (replica.config("a"), replica.config("b")) == (Config(limit=1), Config(limit=7))
    assert [item.error is None for item in replica.configs.unrecorded()] == [True, True, False]


# ---- the loop ---------------------------------------------------------------------------------------


async def test_the_loop_follows_edits_within_its_interval(replica: Replica, sql: Sql) -> None:
    async with running(replica.reconciler):
        await insert(sql, "a")
        await asyncio.wait_for(replica.catalog.news.wait(), timeout=PATIENCE_S)
        assert replica.catalog.take_changed() == {"a"}
        await sql("UPDATE scheduled_job SET enabled = 0")
        await asyncio.wait_for(replica.catalog.news.wait(), timeout=PATIENCE_S)

    assert replica.status("a") is JobStatus.DISABLED
    labels = {"outcome": "ok"}
    assert (replica.metrics.registry.get_sample_value("piko_reconcile_total", labels) or 0) >= 2


async def test_a_database_that_is_away_leaves_the_plan_as_it_was_and_says_so() -> None:
    dsn = f"mysql+asyncmy://u:hunter2@127.0.0.1:{free_port()}/piko"
    async with replica_of(dsn) as replica, running(replica.reconciler):
        reason = await wait_until_async(
            lambda: replica.catalog.stale_reason or "", what="a reason why the catalog is stale"
        )

    assert "127.0.0.1" in reason
    assert "hunter2" not in reason
    assert replica.catalog.stale_since is not None
    assert not replica.catalog.loaded


async def test_a_database_that_returns_makes_the_plan_fresh_again(replica: Replica) -> None:
    replica.catalog.stale_since, replica.catalog.stale_reason = NOON, "the database was away"
    async with running(replica.reconciler):
        await wait_until_async(lambda: replica.catalog.stale_reason is None, what="a catalog that is fresh")

    assert replica.catalog.stale_since is None
    assert replica.catalog.loaded


# ---- jobs of others ---------------------------------------------------------------------------------


async def publish(replica: Replica, *, app: str, instance_id: str) -> None:
    """A living replica has the job `stranger`."""
    instance = Instance(instance_id=instance_id, app=app, host=f"host-{instance_id}", pid=1, version="1")
    await InstanceStore(database=replica.database).beat(instance)
    row = DefinitionRow(
        job_id="stranger",
        app=app,
        handler="app:run",
        stateful=False,
        backfill_policy=None,
        config_schema=None,
        content_hash=app,
        instance_id=instance_id,
    )
    await DefinitionStore(database=replica.database).publish([row])


async def test_a_job_that_a_standby_of_another_app_has_says_so(replica: Replica, sql: Sql) -> None:
    await publish(replica, app="billing", instance_id="other")
    await insert(sql, "stranger")
    await replica.compare()

    assessed = replica.catalog.assessed_rows["stranger"]
    assert assessed.status is JobStatus.UNREGISTERED
    assert "the standby 'host-other' of app 'billing' (instance other) has" in (assessed.message or "")
    assert "give each app a database of its own" in (assessed.message or "")


async def test_a_job_that_a_newer_release_of_the_app_has_says_so(replica: Replica, sql: Sql) -> None:
    await publish(replica, app="demo", instance_id="newer")
    await insert(sql, "stranger")
    await replica.compare()

    message = replica.catalog.assessed_rows["stranger"].message or ""
    assert "the standby 'host-newer' of app 'demo' (instance newer) has, and runs it once it leads" in message
    assert "database of its own" not in message


async def test_nobody_has_a_job_whose_replicas_have_gone(replica: Replica, sql: Sql) -> None:
    await publish(replica, app="billing", instance_id="other")
    await sql("UPDATE runtime_instance SET heartbeat_at = '2020-01-01 00:00:00.000000'")
    await insert(sql, "stranger")
    await replica.compare()

    message = replica.catalog.assessed_rows["stranger"].message or ""
    assert message.startswith("no replica has registered the job 'stranger'")

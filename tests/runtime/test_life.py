"""One replica as a process: how it starts, what it says of itself, how it stops."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from piko.store.schema.migrate import upgrade
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase, migrate
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replica, Replicas, begun_runs, runs, schedule, until_runs
from tests.serving.sockets import answer_of

COMMANDS = {
    "python app.py": ("app.py",),
    "uvicorn app:api_app": ("-m", "uvicorn", "app:api_app", "--port", "{port}"),
    "piko run": ("-m", "piko", "run", "app:app"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_a_row_runs_however_the_app_is_started(
    command: tuple[str, ...], replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    await schedule(migrated_mariadb, "quick")
    replica = replicas.start(migrated_mariadb.dsn, *command)
    await replica.until_ready()
    await until_runs(migrated_mariadb, "quick", 2)
    assert replica.get("/healthz") == (200, "ok\n")
    for path in ("/healthz", "/readyz", "/metrics"):
        await _until_green(replica, path)
    code = replica.process.terminate()
    # uvicorn as a command passes the signal on once it has shut down in order.
    assert code == (0 if "uvicorn" not in command else -signal.SIGTERM)
    assert "Traceback" not in replica.process.output
    stopped = "SELECT COUNT(*) FROM runtime_instance WHERE stopped_at IS NOT NULL"
    assert [tuple(row) for row in await migrated_mariadb.execute(stopped)] == [(1,)]


async def _until_green(replica: Replica, path: str) -> None:
    def green() -> bool:
        return answer_of(replica.port, path, method="HEAD") == (200, "")

    await wait_until_async(green, what=f"HEAD {path} to be answered as GET is, without a body")


async def test_an_edit_an_insert_and_a_delete_by_sql_take_effect_at_once(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replica = replicas.start(database.dsn)
    await replica.until_ready()
    await schedule(database, "quick", '{"weeks": 500}')

    async def next_time() -> object:
        rows = await database.execute("SELECT next_run_at FROM job_state WHERE job_id = 'quick'")
        return rows[0][0] if rows else None

    seldom = await wait_until_async(next_time, what="the row to be planned")
    await database.execute(
        "UPDATE scheduled_job SET schedule_expr = '{\"seconds\": 1}' WHERE job_id = 'quick'"
    )
    await until_runs(database, "quick", 2)
    assert await next_time() != seldom
    await database.execute("DELETE FROM scheduled_job WHERE job_id = 'quick'")

    async def silent() -> bool:
        return await next_time() is None

    await wait_until_async(silent, what="the job's next instant to go")
    before = len(await runs(database, "quick"))
    await schedule(database, "windows")
    await until_runs(database, "windows", 3)
    assert len(await runs(database, "quick")) == before


async def test_a_config_edit_reaches_the_next_run_and_the_run_names_its_revision(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replica = replicas.start(database.dsn)
    await schedule(database, "quick")
    replica.process.wait_for_line("quick 1 nobody ")
    await database.execute(
        "INSERT INTO job_config (job_id, config_json) VALUES ('quick', '{\"name\": \"Ada\"}')"
    )
    replica.process.wait_for_line("quick 1 Ada ")
    await database.execute("UPDATE job_config SET config_json = '{\"name\": 7}' WHERE job_id = 'quick'")

    async def refused() -> list[tuple[Any, ...]]:
        return await database.execute(
            "SELECT error FROM job_config_revision WHERE job_id = 'quick' AND error IS NOT NULL"
        )

    rows = await wait_until_async(refused, what="the revision that is refused")
    assert "name = 7: Input should be a valid string" in rows[0][0]
    await database.execute("UPDATE job_config SET config_json = '{\"name\": \"Eve\"}' WHERE job_id = 'quick'")
    replica.process.wait_for_line("quick 1 Eve ")

    async def revisions() -> set[object]:
        found = await database.execute("SELECT DISTINCT config_revision FROM job_run WHERE job_id = 'quick'")
        return {row[0] for row in found}

    async def third() -> bool:
        return 3 in await revisions()

    await wait_until_async(third, what="a run with revision 3")
    assert await revisions() <= {None, 1, 3}


async def test_a_database_that_is_down_at_start_is_waited_for(
    replicas: Replicas, own_mariadb: DatabaseServer
) -> None:
    database = await migrate(await own_mariadb.create_database())
    await schedule(database, "quick")
    own_mariadb.stop()
    replica = replicas.start(database.dsn)
    await replica.until("/readyz", 503, "is not available")
    assert replica.get("/healthz") == (200, "ok\n")
    replica.process.wait_for_line("waiting_for_database")
    assert "Traceback" not in replica.process.output
    own_mariadb.start()
    await replica.until_ready()
    await until_runs(database, "quick", 1)
    assert replica.process.terminate() == 0


async def test_missing_tables_are_waited_for_and_the_remedy_is_reported(
    replicas: Replicas, database: TestDatabase
) -> None:
    replica = replicas.start(database.dsn)
    await replica.until("/readyz", 503, "none of Piko's tables")
    await replica.until("/readyz", 503, "run `piko db upgrade`")
    assert replica.get("/healthz")[0] == 200
    await migrate(database)
    await replica.until_ready()
    assert replica.process.terminate() == 0


async def test_a_refused_login_is_reported_without_the_password(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    replica = replicas.start(migrated_mariadb.dsn.replace("piko:piko@", "piko:hunter2@"))
    await replica.until("/readyz", 503, "Access denied")
    assert replica.get("/healthz") == (200, "ok\n")
    assert replica.process.terminate() == 0
    assert "hunter2" not in replica.process.output
    assert "Traceback" not in replica.process.output


async def test_tables_of_a_newer_release_are_worked_with_and_pointed_out(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    await migrated_mariadb.execute("UPDATE piko_schema_version SET version_num = '9.9.9_01'")
    replica = replicas.start(migrated_mariadb.dsn)
    await replica.until_ready()
    assert "9.9.9_01" in replica.process.wait_for_line("tables_are_newer")


async def test_a_stop_while_the_database_is_down_ends_in_order(
    replicas: Replicas, own_mariadb: DatabaseServer
) -> None:
    database = await migrate(await own_mariadb.create_database())
    waiting = replicas.start(database.dsn, name="waiting")
    working = replicas.start(database.dsn, name="working")
    for replica in (waiting, working):
        await replica.until("/readyz", 200, "")
    own_mariadb.stop()
    for replica in (waiting, working):
        await replica.until("/readyz", 503, "rows not read since")
        assert replica.get("/healthz") == (200, "ok\n")
        assert replica.process.terminate() == 0


async def test_metrics_come_as_text_and_as_openmetrics(replicas: Replicas, sqlite: TestDatabase) -> None:
    await upgrade(sqlite.dsn)
    await schedule(sqlite, "quick")
    replica = replicas.start(sqlite.dsn)
    await until_runs(sqlite, "quick", 1)

    def exposed() -> str | None:
        _, body = replica.get("/metrics")
        return body if 'piko_job_run_total{job_id="quick",status="SUCCESS"}' in body else None

    await wait_until_async(exposed, what="the run to be counted")
    status, body = replica.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert status == 200
    families = {family.name for family in text_string_to_metric_families(body)}
    assert {"piko_job_run", "piko_job_duration_seconds", "piko_leader_status", "piko_build"} <= families
    # What tells one run from another is an exemplar, never a label.
    assert 'piko_job_duration_seconds_bucket{job_id="quick",le="0.005"} ' in body
    assert '# {run_id="' in body


# ---- stopping -------------------------------------------------------------------------------------


async def test_a_stop_lets_handlers_finish_and_records_them(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    await schedule(migrated_mariadb, "slow", '{"seconds": 1}')
    replica = replicas.start(migrated_mariadb.dsn, environment={"PIKO_DRAIN_TIMEOUT_S": "600"})
    replica.process.wait_for_line("slow begins")
    assert replica.process.terminate() == 0
    assert "slow ends" in replica.process.output
    assert await runs(migrated_mariadb, "slow", "RUNNING") == []
    assert len(await runs(migrated_mariadb, "slow", "SUCCESS")) >= 1


async def test_probes_answer_while_a_replica_drains(replicas: Replicas, sqlite: TestDatabase) -> None:
    await upgrade(sqlite.dsn)
    await schedule(sqlite, "slow", '{"seconds": 1}')
    environment = {"SLOW_UNTIL": "set free", "PIKO_DRAIN_TIMEOUT_S": "600"}
    replica = replicas.start(sqlite.dsn, environment=environment)
    replica.process.wait_for_line("slow begins")
    replica.process.signal(signal.SIGTERM)
    await replica.until("/readyz", 503, "stopping")
    assert replica.get("/healthz") == (200, "ok\n")
    (replicas.folder / "set free").touch()
    assert replica.process.wait() == 0


async def test_a_run_cut_by_the_budget_runs_again_as_the_same_attempt(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    await schedule(database, "slow", '{"hours": 1}', schedule_type="date")
    await database.execute('UPDATE scheduled_job SET schedule_expr = \'{"run_date": "2100-01-01 00:00:00"}\'')
    first = replicas.start(
        database.dsn, name="first", environment={"PIKO_DRAIN_TIMEOUT_S": "0.2", "SLOW_S": "3600"}
    )
    await first.until_ready()
    await database.execute(
        "UPDATE scheduled_job SET schedule_type = 'interval', schedule_expr = '{\"seconds\": 2}'"
    )
    first.process.wait_for_line("slow begins 1")
    assert first.process.terminate() == 0
    scheduled_time = await cut(database, "slow")
    second = replicas.start(database.dsn, name="second", environment={"SLOW_S": "0"})
    second.process.wait_for_line("slow begins 1")

    async def made_good() -> bool:
        return (scheduled_time, "SUCCESS", 1) in await runs(database, "slow")

    await wait_until_async(made_good, what="the due time that was cut to be made good")


async def cut(database: TestDatabase, job_id: str) -> object:
    """The due time of the first run, which a stop has cut, and which waits as the same attempt again."""
    begun = await begun_runs(database, job_id)
    scheduled_time = begun[0][0]
    of_first = sorted(row[1:] for row in begun if row[0] == scheduled_time)
    assert of_first == [("CANCELLED", 1), ("QUEUED", 1)]
    return scheduled_time


STUBBORN = """
import asyncio
from piko import PikoApp

app = PikoApp(name="trial")

@app.job(job_id="stubborn")
async def stubborn(ctx, scheduled_time):
    print("stubborn is at it", flush=True)
    while True:
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            print("goes on", flush=True)
"""


async def test_a_stop_does_not_wait_for_a_handler_that_ignores_it(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    replicas.write(STUBBORN)
    await schedule(migrated_mariadb, "stubborn", '{"seconds": 1}')
    replica = replicas.start(migrated_mariadb.dsn, environment={"PIKO_DRAIN_TIMEOUT_S": "0.2"})
    replica.process.wait_for_line("stubborn is at it")
    assert replica.process.terminate() == 0
    assert "goes on" in replica.process.output
    assert "handler_abandoned" in replica.process.output
    assert await runs(migrated_mariadb, "stubborn", "RUNNING") == []
    await cut(migrated_mariadb, "stubborn")

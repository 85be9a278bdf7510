"""`executor = "replicas"`: the leader plans, every replica runs."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise

from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import (
    Replica,
    Replicas,
    leader_of,
    runs,
    schedule,
    times_run_twice,
    until_runs,
)

APP = """
import asyncio, os
from datetime import timedelta
from pydantic import BaseModel
from piko import PikoApp

app = PikoApp(name="trial")
api_app = app.api_app

class Greeting(BaseModel):
    name: str = "nobody"

@app.job(job_id="greet", schema=Greeting)
async def greet(ctx, scheduled_time):
    print("greets", ctx["config"].name, ctx["config_revision"], flush=True)

async def waits(ctx, scheduled_time):
    print("waits begins", scheduled_time.isoformat(), ctx["attempt"], flush=True)
    if "WAIT_UNTIL" in os.environ:
        while not os.path.exists(os.environ["WAIT_UNTIL"]):
            await asyncio.sleep(0.05)
    else:
        await asyncio.sleep(float(os.environ.get("WAIT_S", "0.3")))
    print("waits ends", flush=True)

for name in ("waits", "waits-1", "waits-2", "waits-3", "waits-4", "waits-5"):
    app.job(job_id=name)(waits)

@app.job(job_id="windows", stateful=True)
async def windows(ctx, scheduled_time):
    print("window", ctx["data_interval"].start.isoformat(), flush=True)
"""
EVERYWHERE = {"PIKO_EXECUTOR": "replicas"}


async def instances(database: TestDatabase, state: str = "SUCCESS") -> Counter[str]:
    """How many runs in `state` are whose."""
    rows = await database.execute(f"SELECT instance_id FROM job_run WHERE state = '{state}'")
    return Counter(row[0] for row in rows)


async def run_in(database: TestDatabase, replica: Replica) -> str:
    """The one run that is in progress in `replica`."""
    ((run_id,),) = await database.execute(
        "SELECT run_id FROM job_run JOIN runtime_instance USING (instance_id) "
        f"WHERE state = 'RUNNING' AND pid = {replica.process.pid}"
    )
    return str(run_id)


async def test_every_replica_takes_its_part_and_each_due_time_runs_once(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    environment = {**EVERYWHERE, "PIKO_MAX_CONCURRENT_RUNS": "3"}
    pair = [replicas.start(database.dsn, name=name, environment=environment) for name in ("one", "two")]
    await leader_of(*pair)
    for number in range(6):
        await schedule(database, "waits" if number == 0 else f"waits-{number}", '{"seconds": 1}')
    await schedule(database, "greet")

    async def both() -> bool:
        return len(await instances(database)) == 2

    await until_runs(database, "waits", 5)
    await wait_until_async(both, what="both replicas to have run something")
    for job_id in ("waits", "greet"):
        assert times_run_twice(await runs(database, job_id)) == []
    spans = await database.execute(
        "SELECT scheduled_time, COALESCE(missed_through, scheduled_time) FROM job_run "
        "WHERE job_id = 'waits' ORDER BY scheduled_time"
    )
    assert {(later[0] - earlier[1]).total_seconds() for earlier, later in pairwise(spans)} == {1.0}


async def test_runs_of_a_replica_go_on_through_a_change_of_leader(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    environment = {**EVERYWHERE, "WAIT_UNTIL": "set free", "PIKO_MAX_CONCURRENT_RUNS": "1"}
    pair = [replicas.start(database.dsn, name=name, environment=environment) for name in ("one", "two")]
    leader, standby = await leader_of(*pair)
    await schedule(database, "waits", '{"seconds": 1}', max_instances=2, overlap_policy="skip")
    for replica in (leader, standby):  # which of them is first is chance
        replica.process.wait_for_line("waits begins")
    killed, kept = [await run_in(database, replica) for replica in (leader, standby)]
    leader.process.kill()
    await standby.until_ready("leader")
    await until_runs(database, "waits", 1, state="LOST")
    (replicas.folder / "set free").touch()
    standby.process.wait_for_line("waits ends")

    async def ended() -> bool:
        return bool(
            await database.execute(
                f"SELECT 1 FROM job_run WHERE run_id = '{kept}' AND state = 'SUCCESS' AND attempt = 1"
            )
        )

    await wait_until_async(ended, what="the run to end as it began: it was not tried again")
    lost = await database.execute("SELECT run_id FROM job_run WHERE state = 'LOST'")
    assert [run_id for (run_id,) in lost] == [killed], "what the killed one ran is lost, and nothing else"


async def test_what_a_killed_replica_had_taken_is_lost_and_runs_again_on_another(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    environment = {**EVERYWHERE, "WAIT_S": "3600", "PIKO_MAX_CONCURRENT_RUNS": "1"}
    leader = replicas.start(database.dsn, name="leader", environment=environment)
    await leader.until_ready("leader")
    other = replicas.start(database.dsn, name="other", environment=environment)
    await other.until_ready("standby")
    await schedule(database, "waits", '{"seconds": 1}', max_instances=2, max_attempts=2)
    for replica in (leader, other):
        replica.process.wait_for_line("waits begins")
    other.process.kill()
    third = replicas.start(
        database.dsn, name="third", environment={**EVERYWHERE, "WAIT_S": "0", "PIKO_MAX_CONCURRENT_RUNS": "1"}
    )
    (lost,) = await until_runs(database, "waits", 1, state="LOST")

    async def again() -> bool:
        return (lost[0], "SUCCESS", 2) in await runs(database, "waits")

    await wait_until_async(again, what="the second attempt, on the third replica")
    assert "waits begins" in third.process.output


async def test_a_run_that_is_cancelled_by_sql_ends_on_whichever_replica_it_runs(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    environment = {**EVERYWHERE, "WAIT_S": "3600", "PIKO_MAX_CONCURRENT_RUNS": "1"}
    pair = [replicas.start(database.dsn, name=name, environment=environment) for name in ("one", "two")]
    await leader_of(*pair)
    await schedule(database, "waits", '{"seconds": 1}', max_instances=2)
    for replica in pair:
        replica.process.wait_for_line("waits begins")
    await database.execute(
        "UPDATE job_run SET state = 'CANCELLED', finished_at = UTC_TIMESTAMP(6) WHERE state = 'RUNNING'"
    )
    for replica in pair:
        replica.process.wait_for_line("run_cancelled_by_row")

    async def begun() -> bool:
        return len(await instances(database, "RUNNING")) == 2

    await wait_until_async(begun, what="the places to be taken by newer due times")


async def test_windows_follow_each_other_without_a_gap_on_any_replica(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    now = (await database.execute("SELECT UTC_TIMESTAMP()"))[0][0]
    await schedule(
        database,
        "windows",
        '{"seconds": 1}',
        last_data_time=str(now.replace(microsecond=0)),
    )
    pair = [replicas.start(database.dsn, name=name, environment=EVERYWHERE) for name in ("one", "two")]
    await leader_of(*pair)
    await until_runs(database, "windows", 12)
    rows = await database.execute(
        "SELECT window_start, window_end, instance_id FROM job_run "
        "WHERE job_id = 'windows' AND state = 'SUCCESS' ORDER BY window_start"
    )
    assert all(earlier[1] == later[0] for earlier, later in pairwise(rows))


async def test_each_run_gets_the_config_that_the_leader_chose_for_it(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    config = json.dumps({"name": "Ada"})
    await database.execute(f"INSERT INTO job_config (job_id, config_json) VALUES ('greet', '{config}')")
    pair = [replicas.start(database.dsn, name=name, environment=EVERYWHERE) for name in ("one", "two")]
    await leader_of(*pair)
    await schedule(database, "greet")
    await until_runs(database, "greet", 2)
    await database.execute("UPDATE job_config SET config_json = '{\"name\": \"Bob\"}' WHERE job_id = 'greet'")

    async def newer() -> bool:
        rows = await database.execute(
            "SELECT 1 FROM job_run WHERE job_id = 'greet' AND config_revision = 2 AND state = 'SUCCESS'"
        )
        return len(rows) >= 3

    await wait_until_async(newer, what="runs by the new config")
    greeted = re.findall(r"greets \w+ \d+", "".join(replica.process.output for replica in pair))
    assert set(greeted) == {"greets Ada 1", "greets Bob 2"}


async def test_what_was_offered_is_run_by_a_leader_that_runs_by_itself(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    environment = {**EVERYWHERE, "WAIT_S": "3600", "PIKO_MAX_CONCURRENT_RUNS": "1"}
    first = replicas.start(database.dsn, name="first", environment=environment)
    await first.until_ready("leader")
    await schedule(database, "waits", '{"seconds": 1}', max_instances=2, max_attempts=1)
    first.process.wait_for_line("waits begins")
    (offered,) = await wait_until_async(
        lambda: database.execute("SELECT run_id FROM job_run WHERE offered_at IS NOT NULL"),
        what="a run for which there is no place",
    )
    first.process.kill()
    second = replicas.start(database.dsn, name="second", environment={"WAIT_S": "0"})
    await second.until_ready("leader")

    async def done() -> bool:
        rows = await database.execute(f"SELECT state FROM job_run WHERE run_id = '{offered[0]}'")
        return bool(rows[0][0] == "SUCCESS")

    await wait_until_async(done, what="the run that was offered to end")

"""The whole path on real servers: kubectl to resource to row to run to status, and back out again.

An API server and MariaDB; the operator and two runtime replicas as processes with the environment, the
account and the rights that the chart gives them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.installation import EXAMPLES, Installation, install
from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import PATIENTLY, wait_until, wait_until_async
from tests.runtime.replicas import leader_of, runs, times_run_twice, until_runs

LONG_HISTORY = {"successful": 10_000, "failed": 10_000}
"""No run is pruned that a test counts, however long a busy machine takes."""


@pytest.fixture
def installation(
    crds: ControlPlane,
    namespace: str,
    mariadb: TestDatabase,
    piko_process: PikoProcessFactory,
    tmp_path: Path,
) -> Iterator[Installation]:
    with install(crds, namespace, mariadb, piko_process, tmp_path) as installed:
        yield installed


async def test_from_kubectl_apply_to_a_run_and_its_status_and_away_again(installation: Installation) -> None:
    database = installation.database
    installation.migrate()
    operator = installation.start_operator()
    replicas = [installation.start_replica(f"piko-runtime-{number}") for number in (1, 2)]

    # What is applied becomes rows, each owned by its resource.
    installation.kubectl("apply", "-f", EXAMPLES / "cluster" / "schedule.yaml", "-f", EXAMPLES / "manifests")
    installation.wait_for("condition=Synced", "psch", "--all")
    installation.wait_for("condition=Synced", "pjc/greet")  # another asks for a Secret that nobody made
    rows = await database.execute("SELECT job_id, managed_by FROM scheduled_job ORDER BY job_id")
    jobs = {row[0]: row[1] for row in rows}
    assert sorted(jobs) == [
        "digest",
        "greet",
        "heartbeat",
        "move_to_new_store",
        "nightly_report",
        "sync_orders",
    ]
    assert all(f"/{installation.namespace}/" in owner for owner in jobs.values())
    assert await column(database, "config_json", "job_config", "greet") == '{"name":"Kubernetes","times":2}'

    # One replica acts; jobs that the code does not have are named as such and hurt nobody.
    leader, standby = await leader_of(*replicas)
    installation.wait_for("condition=Ready", "psch/greet", "psch/digest")
    installation.wait_for("condition=Ready=False", "psch/sync-orders", "psch/heartbeat")
    assert "Unregistered" in installation.kubectl("get", "psch", "heartbeat", "-o", "yaml")

    # It runs when due, with its config, and the resource says so.
    installation.wait_for("jsonpath={.status.lastRun.state}=SUCCESS", "psch/greet")
    # The config is a resource of its own: a run before it came has the model's defaults.
    wait_until(lambda: leader.process.output.count("hello Kubernetes") >= 2, what="two greetings a run")
    assert "hello" not in standby.process.output
    table = installation.kubectl("get", "psch", "greet")
    assert "SUCCESS" in table
    assert "every 10s" in table or "10s" in table

    # An edit by kubectl changes the cadence.
    for resource in ("psch/greet", "psch/digest"):
        installation.patch(resource, history=LONG_HISTORY)
    installation.patch("psch/greet", schedule={"interval": {"every": "1s"}})
    await until_each(timedelta(seconds=1), database, "greet")

    # An edit by SQL changes the cadence, where the resource lets SQL have its way.
    installation.patch("psch/digest", driftPolicy="Observe")
    installation.wait_for("condition=Synced", "psch/digest")
    await database.execute(
        "UPDATE scheduled_job SET schedule_type = 'interval', schedule_expr = '{\"seconds\": 2}' "
        "WHERE job_id = 'digest'"
    )
    await until_each(timedelta(seconds=2), database, "digest")

    # Suspending stops it; resuming goes on from there and makes up for nothing.
    installation.patch("psch/greet", suspend=True)
    installation.wait_for('jsonpath={.status.conditions[?(@.type=="Ready")].reason}=Disabled', "psch/greet")
    suspended_at = (await runs(database, "greet"))[-1][0]
    await until_runs(database, "digest", len(await runs(database, "digest", "SUCCESS")) + 2)
    assert (await runs(database, "greet"))[-1][0] == suspended_at
    passed = suspended_at + timedelta(seconds=3)
    await wait_until_async(lambda: now_is_after(database, passed), what="instants to pass unused")
    installation.patch("psch/greet", suspend=False)
    await until_each(timedelta(seconds=1), database, "greet", after=passed)
    (resumed_at, _) = next(span for span in await spans(database, "greet") if span[0] > suspended_at)
    assert resumed_at > passed

    # The leader dies: the other goes on.
    leader.process.kill()
    await standby.until_ready("leader")
    await until_runs(database, "greet", len(await runs(database, "greet", "SUCCESS")) + 3)

    # Once for each due time.
    for job_id in ("greet", "digest"):
        assert times_run_twice(await runs(database, job_id)) == []

    # Deleting removes the row and lets the resource go; what ran stays as history.
    before = len(await runs(database, "greet"))
    installation.kubectl("delete", "psch", "greet", PATIENTLY)
    assert await column(database, "job_id", "scheduled_job", "greet") is None

    async def kept() -> bool:
        return await column(database, "row_gone_at", "job_state", "greet") is not None

    await wait_until_async(kept, what="the deleted job's progress to be kept")
    assert len(await runs(database, "greet")) >= before
    installation.kubectl("delete", "psch,pjc", "--all", PATIENTLY)
    left = await database.execute("SELECT job_id FROM scheduled_job UNION SELECT job_id FROM job_config")
    assert [row[0] for row in left] == ["move_to_new_store"], "deletionPolicy: Retain hands its row to SQL"

    # Both programs stop when asked.
    assert standby.process.terminate() == 0
    assert operator.terminate() == 0


async def spans(database: TestDatabase, job_id: str) -> list[tuple[datetime, datetime]]:
    """The first and the last instant of each record: one instant of a run, more of what coalesced."""
    found = await database.execute(
        "SELECT DISTINCT scheduled_time, COALESCE(missed_through, scheduled_time) FROM job_run "
        f"WHERE job_id = '{job_id}' ORDER BY scheduled_time"
    )
    return [(first, last) for first, last in found]


async def now_is_after(database: TestDatabase, moment: datetime) -> bool:
    ((now,),) = await database.execute("SELECT UTC_TIMESTAMP(6)")
    return bool(now > moment)


async def until_each(
    interval: timedelta, database: TestDatabase, job_id: str, *, after: datetime | None = None
) -> None:
    """Wait until the last four instants, of those that come after `after`, are so far apart."""

    async def steady() -> bool:
        found = await spans(database, job_id)
        last = [span for span in found if after is None or span[0] > after][-4:]
        return [later[0] - earlier[1] for earlier, later in pairwise(last)] == [interval] * 3

    await wait_until_async(steady, what=f"{job_id} to be due every {interval}")


async def column(database: TestDatabase, name: str, table: str, job_id: str) -> object:
    rows = await database.execute(f"SELECT {name} FROM {table} WHERE job_id = '{job_id}'")
    return rows[0][0] if rows else None

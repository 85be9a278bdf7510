"""Nothing is written or removed before the operator knows which cluster it is in."""

from __future__ import annotations

from tests.harness.waiting import wait_until_async
from tests.operator.conftest import World, let_identify
from tests.serving.sockets import answer_of

_FOREIGN = "2f1e7d0a-0000-4000-8000-000000000000"
_ROW = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, managed_by) "
    "VALUES ('theirs', 'interval', '{\"days\":1}', 'test/%s/theirs/uid-1')"
)


def _readyz(world: World) -> tuple[int, str]:
    return answer_of(world.port, "/readyz")


async def test_a_second_cluster_of_one_name_writes_and_removes_nothing(world: World) -> None:
    execute = world.database.execute
    await execute(f"INSERT INTO operator_cluster (cluster, uid) VALUES ('test', '{_FOREIGN}')")
    await execute(_ROW % world.namespace)
    running = world.start()
    world.apply("PikoSchedule", "ours", jobId="ours", schedule={"cron": "@hourly"})
    taken = await world.until_condition("psch", "ours", "Synced", reason="ClusterNameTaken")
    assert f"the uid of its kube-system is {_FOREIGN}" in taken["message"]
    assert "PIKO_OPERATOR_CLUSTER" in taken["message"]
    code, said = _readyz(world)
    assert code == 503
    assert "the cluster name 'test' belongs to another cluster" in said
    running.wait_for_line("cluster_not_identified")
    assert await execute("SELECT job_id, enabled FROM scheduled_job") == [("theirs", 1)]
    metadata = world.read("psch", "ours")["metadata"]
    assert "finalizers" not in metadata, "its deletion does not wait for a database that is not its own"

    # This cluster replaces that one: from here on its rows are these.
    await execute("DELETE FROM operator_cluster")
    await world.until_condition("psch", "ours", "Synced", reason="Synced")
    uid = world.control_plane.kubectl("get", "ns", "kube-system", "-o", "jsonpath={.metadata.uid}").stdout
    assert await execute("SELECT cluster, uid FROM operator_cluster") == [("test", uid)]
    await world.until_row("SELECT enabled FROM scheduled_job WHERE job_id = 'theirs'", [(0,)])
    await wait_until_async(lambda: _readyz(world)[0] == 200, what="readiness")


async def test_an_operator_that_may_not_identify_its_cluster_says_what_it_lacks(world: World) -> None:
    let_identify(world.control_plane, world.namespace, may=False)
    world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"})
    lacking = await world.until_condition("psch", "s", "Synced", reason="ClusterUnidentified")
    assert "resourceNames [kube-system], as the chart does" in lacking["message"]
    assert await world.database.execute("SELECT job_id FROM scheduled_job") == []
    let_identify(world.control_plane, world.namespace)
    await world.until_condition("psch", "s", "Synced", reason="Synced")

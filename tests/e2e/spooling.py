"""Results and outcomes that are on a replica's volume when its pod ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.database import TrialDatabase

_MOUNT = "/var/lib/piko/spool"
_APP = """
import asyncio
from pathlib import Path

from app import app
from piko.persistence.sinks import SqlTableSink

app.writer.register_sink(
    SqlTableSink("kept", dsn="file:/etc/piko/database/dsn", table="kept", durability="spooled")
)


@app.job
async def slow(ctx, scheduled_time):
    while not Path("/tmp/end").exists():
        await asyncio.sleep(0.2)
    await ctx.write("kept", key=ctx.run_id, payload={"id": ctx.run_id})
"""
_SCHEDULE = """
apiVersion: piko.dev/v1
kind: PikoSchedule
metadata: {name: slow}
spec: {jobId: slow, suspend: true, schedule: {cron: "@daily"}}
"""


class Spooling:
    """A job whose run ends while the database is away. The runtime is a StatefulSet meanwhile."""

    def __init__(self, cluster: Cluster, *, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._database = TrialDatabase(cluster)
        self._say = say

    def prepare(self) -> None:
        """The code of the job, its schedule and the table of its sink."""
        code = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "trial"},
            "data": {"trial.py": _APP},
        }
        self._cluster.kubectl("apply", "-f", "-", given=json.dumps(code))
        self._cluster.kubectl("apply", "-f", "-", given=_SCHEDULE)
        self._database.sql("CREATE TABLE kept (id VARCHAR(64) PRIMARY KEY)")

    def values(self, claim: str = "") -> dict[str, Any]:
        """Of the chart, for that job, and a volume for each replica; or that of `claim` for the only one."""
        volume = {"existingClaim": claim} if claim else {"size": "64Mi"}
        return {
            "runtime": {
                "replicas": 1,
                "args": ["run", "trial:app"],
                "env": {"PYTHONPATH": "/trial:/app"},
                "extraVolumes": [{"name": "trial", "configMap": {"name": "trial"}}],
                "extraVolumeMounts": [{"name": "trial", "mountPath": "/trial", "readOnly": True}],
                "spool": {"persistence": {"enabled": True, **volume}},
            }
        }

    def by_a_pod_that_comes_back(self) -> list[str]:
        """What is not as promised after the pod was killed."""
        pod = self._cluster.leader()
        run_id = self._end_without_database(pod)
        self._cluster.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        self._database.give_back()
        self._until_delivered(run_id)
        state = self._state_of(run_id)
        self._say(f"{pod} came back: the run is {state}, and its record is in the table")
        return [] if state == "SUCCESS" else [f"the run {run_id} ended as SUCCESS and is {state}"]

    def by_a_pod_that_was_scaled_away(self) -> list[str]:
        """What is not as promised after the pod was taken away, for a while without a successor."""
        run_id, pod = self._left_behind()
        if self._delivered(run_id):
            return [f"the record of {run_id} was delivered without the volume that holds it"]
        self._say(f"{pod} is scaled away: its record waits on its volume")
        self._scale(2)
        self._until_delivered(run_id)
        self._say(
            f"{pod} came back with its volume: its record is in the table, the run {self._state_of(run_id)}"
        )
        return []

    def left_by_a_pod_that_never_comes_back(self) -> tuple[str, str]:
        """The run whose record is on the volume of a pod that was taken away, and the claim of the volume."""
        run_id, pod = self._left_behind()
        return run_id, f"spool-{pod}"

    def by_another_pod(self, run_id: str, claim: str) -> None:
        """Wait until the record is delivered by a pod that has `claim`."""
        self._until_delivered(run_id)
        self._say(
            f"{self._cluster.leader()} has {claim}, whose pod never came back: its record is in the table, "
            f"the run {self._state_of(run_id)}"
        )

    def _left_behind(self) -> tuple[str, str]:
        """A run, and the second replica, that ended with its record on the volume; the first one leads."""
        self._scale(2)
        first = self._cluster.leader()
        self._cluster.kubectl("delete", "pod", first)
        self._cluster.wait("the other replica leads", lambda: self._cluster.leader() != first)
        self._all_here(2)
        pod = self._cluster.leader()
        run_id = self._end_without_database(pod)
        self._scale(1)
        self._database.give_back()
        self._cluster.wait("the first replica leads", lambda: self._cluster.leader() == first)
        return run_id, pod

    def _end_without_database(self, pod: str) -> str:
        """The id of a run that has ended in `pod`, which could tell it to nobody."""
        self._in(pod, "rm", "-f", "/tmp/end")
        answer = json.loads(self._in(pod, "piko", "trigger", "slow", "--reason=e2e", "-o", "json"))
        run_id = str(answer["run_id"])
        self._cluster.wait("the run is in its handler", lambda: self._state_of(run_id) == "RUNNING")
        self._database.take_away()
        self._in(pod, "touch", "/tmp/end")
        spooled = ["sh", "-c", f"grep -rlaF {run_id} {_MOUNT}"]
        self._cluster.wait("outcome and record are on disk", lambda: self._two_files(pod, spooled))
        return run_id

    def _two_files(self, pod: str, command: list[str]) -> bool:
        # An SQLite file may hold the newest in the -wal beside it.
        files = {path.removesuffix("-wal") for path in self._in(pod, *command).split()}
        return len(files) > 1

    def _until_delivered(self, run_id: str) -> None:
        self._cluster.wait("the record is delivered", lambda: self._delivered(run_id))

    def _delivered(self, run_id: str) -> bool:
        return run_id in self._database.sql("SELECT id FROM kept")

    def _state_of(self, run_id: str) -> str:
        runs = self._cluster.piko("runs", "--job=slow")
        return next((str(run["state"]) for run in runs if run["run_id"] == run_id), "absent")

    def _scale(self, replicas: int) -> None:
        self._cluster.kubectl("scale", "statefulset/piko-runtime", f"--replicas={replicas}")
        self._all_here(replicas)

    def _all_here(self, replicas: int) -> None:
        def all_here() -> bool:
            pods = self._cluster.pods("runtime")
            ready = [pod for pod in pods if _is_ready(pod)]
            return len(pods) == replicas and bool(self._database.is_away or len(ready) == replicas)

        self._cluster.wait(f"{replicas} replicas are here", all_here)

    def _in(self, pod: str, *command: str) -> str:
        return self._cluster.kubectl("exec", pod, "-c", "runtime", "--", *command)


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

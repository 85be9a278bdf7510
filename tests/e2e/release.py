"""One release of the chart in the namespace of a trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.cluster import CHART, COMPONENTS, Cluster
from tests.e2e.database import TrialDatabase

EXAMPLES = CHART.parent.parent / "examples" / "cluster"
_ROWS = """
SELECT 'schedule', job_id, managed_by FROM scheduled_job
UNION ALL SELECT 'config', job_id, managed_by FROM job_config ORDER BY 1, 2
"""


class Release:
    """Installed beside the database of the examples, in a namespace that refuses what is not `restricted`."""

    def __init__(self, cluster: Cluster, *, registry: str) -> None:
        self._cluster = cluster
        self._registry = registry

    def make_place(self) -> None:
        """The namespace, with a database in it."""
        cluster = self._cluster
        cluster.kubectl("create", "namespace", cluster.namespace)
        level = "pod-security.kubernetes.io/enforce=restricted"
        cluster.kubectl("label", "namespace", cluster.namespace, level)
        cluster.kubectl("apply", "-f", str(EXAMPLES / "database.yaml"))

    def upgrade(self, *, tag: str, chart: Path = CHART, further: dict[str, Any] | None = None) -> None:
        """Install or upgrade it, and wait until it is ready.

        - `tag`: that of the images.
        - `further`: values of the chart, of which those of a component are added to its image.
        """
        values: dict[str, Any] = {
            "database": {"existingSecret": "piko-database"},
            "image": {"registry": self._registry},
        }
        if chart == CHART:
            values["test"] = {"job": "greet"}
        values |= further or {}
        for component in COMPONENTS:
            own = {} if component == "web" else {"image": {"tag": tag}}
            values[component] = own | (further or {}).get(component, {})
        self._cluster.helm_of(
            "upgrade", "--install", self._cluster.release, str(chart), "--wait", "--timeout=5m", "--values=-",
            given=yaml.safe_dump(values),
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        """Until every pod is, and none is left of what was before."""
        self._cluster.wait("all pods are ready", self._all_ready)

    def _all_ready(self) -> bool:
        workloads = [*self._cluster.found("deployments"), *self._cluster.found("statefulsets")]
        return all(
            each["status"].get("readyReplicas", 0) == each["spec"]["replicas"]
            and each["status"].get("observedGeneration") == each["metadata"]["generation"]
            and each["status"].get("replicas") == each["spec"]["replicas"]
            for each in workloads
        )

    def containers(self) -> set[tuple[str, int]]:
        """Each container of its pods, by the uid of the pod and how often it was restarted."""
        return {
            (pod["metadata"]["uid"], status["restartCount"])
            for component in COMPONENTS
            for pod in self._cluster.pods(component)
            for status in pod["status"]["containerStatuses"]
        }

    def uninstall(
        self,
        *,
        database: TrialDatabase,
        resources: Callable[[], list[dict[str, Any]]],
        say: Callable[[str], None],
    ) -> list[str]:
        """Uninstall it with its `resources`; what is not as promised: none is held, each has its row."""
        rows, begin = database.sql(_ROWS), time.monotonic()
        self._cluster.helm_of("uninstall", self._cluster.release, "--wait", "--timeout=6m")
        self._cluster.wait("nothing of the release is left", lambda: not self.left())
        took_s, left = time.monotonic() - begin, resources()
        held = [f"{each['kind']} {each['metadata']['name']}" for each in left if _is_held(each)]
        are_kept = database.sql(_ROWS) == rows
        say(
            f"the release is uninstalled after {took_s:.1f} s; {len(left)} resources are left, {len(held)} "
            f"with a finalizer; {len(rows.splitlines())} rows {'are' if are_kept else 'are NOT'} as before"
        )
        troubles = [f"{name} has a finalizer that nobody removes" for name in held]
        return troubles if are_kept else [*troubles, "the end of the release changed rows of resources"]

    def left(self) -> list[str]:
        """What the cluster still has of it."""
        # Pods of `helm test` stay, so that their logs can be read.
        chosen = f"app.kubernetes.io/instance={self._cluster.release},app.kubernetes.io/component!=test"
        return self._cluster.kubectl("get", "all,secret,role,rolebinding", "-l", chosen, "-o", "name").split()


def _is_held(resource: dict[str, Any]) -> bool:
    return bool(resource["metadata"].get("finalizers"))

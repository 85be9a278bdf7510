"""The chart's programs as processes: their environment, accounts and roles are what Helm would install."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.chart.rendering import EXISTING_SECRET, ROOT, Rendering, render
from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import PATIENTLY
from tests.runtime.replicas import Replica

EXAMPLES = ROOT / "examples"

_RBAC = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
# A test cannot wait half a minute for the lease of a killed leader, and a busy machine may let one that lives
# stand still for some seconds.
_SHORT_LEASE = {
    "PIKO_LEADER_LEASE_S": "10",
    "PIKO_LEADER_RENEW_INTERVAL_S": "2",
    "PIKO_HEARTBEAT_INTERVAL_S": "5",
}


@dataclass(frozen=True, slots=True)
class Installation:
    """A namespace with the chart's accounts and roles, and a database."""

    control_plane: ControlPlane
    namespace: str
    database: TestDatabase
    rendering: Rendering
    start_process: PikoProcessFactory
    folder: Path
    """What a pod has to itself in its own file system: each replica a folder for its spool."""

    def kubectl(self, *arguments: str | Path) -> str:
        words = [str(argument) for argument in arguments]
        return self.control_plane.kubectl("-n", self.namespace, *words).stdout

    def wait_for(self, condition: str, *resources: str) -> None:
        """Watch until every resource has `condition`, in the words of `kubectl wait --for`."""
        self.kubectl("wait", f"--for={condition}", PATIENTLY, *resources)

    def patch(self, resource: str, **spec: Any) -> None:
        """Edit, and wait until the operator has dealt with that edit."""
        self.kubectl("patch", resource, "--type=merge", "-p", json.dumps({"spec": spec}))
        generation = self.kubectl("get", resource, "-o", "jsonpath={.metadata.generation}")
        self.wait_for(f"jsonpath={{.status.observedGeneration}}={generation}", resource)

    def migrate(self) -> None:
        """What the chart's hook does before anything else starts."""
        program, *arguments = self._container("Job", "migration")["command"]
        migration = self.start_process(
            "-m", program, *arguments, env=self._environment("Job", "migration"), name="migration"
        )
        assert migration.wait() == 0

    def start_operator(
        self, *, kubeconfig: Path | None = None, port: int | None = None, sweep_interval_s: float = 120
    ) -> ChildProcess:
        """With the chart's account, or as `kubeconfig` says; its probes answer at `port`."""
        if kubeconfig is None:
            kubeconfig = self.control_plane.service_account_kubeconfig(self.namespace, "piko-operator")
        environment = {
            **self._environment("Deployment", "operator"),
            "KUBECONFIG": str(kubeconfig),
            "PIKO_OPERATOR_LEASE_NAMESPACE": self.namespace,
            "PIKO_OPERATOR_HTTP_PORT": str(port or free_port()),
            "PIKO_OPERATOR_ADMISSION_PORT": str(free_port()),
            "PIKO_OPERATOR_SWEEP_INTERVAL_S": str(sweep_interval_s),
        }
        return self.start_process("-m", "piko_operator", env=environment, name="operator")

    def start_replica(self, name: str) -> Replica:
        port = free_port()
        kubeconfig = self.control_plane.service_account_kubeconfig(self.namespace, "piko-runtime")
        environment = {
            **self._environment("Deployment", "runtime"),
            # What a pod finds in the folder of its ServiceAccount.
            "KUBECONFIG": str(kubeconfig),
            "PIKO_LEADER_NAMESPACE": self.namespace,
            **_SHORT_LEASE,
            "PIKO_HTTP_PORT": str(port),
            "PIKO_SPOOL_DIR": str(self.folder / f"spool-of-{name}"),
            "HOSTNAME": name,
        }
        arguments = self._container("Deployment", "runtime")["args"]
        process = self.start_process(
            "-m", "piko", *arguments, env=environment, name=name, cwd=EXAMPLES / "cluster"
        )
        return Replica(process=process, port=port)

    def _container(self, kind: str, component: str) -> dict[str, Any]:
        spec = self.rendering.one(kind, component)["spec"]["template"]["spec"]
        container: dict[str, Any] = spec["containers"][0]
        return container

    def _environment(self, kind: str, component: str) -> dict[str, str]:
        variables = self._container(kind, component)["env"]
        literal = {item["name"]: item["value"] for item in variables if "value" in item}
        for name in literal:
            if name.endswith("_HTTP_HOST"):
                literal[name] = "127.0.0.1"
        return {**literal, "PIKO_MYSQL_DSN": self.database.dsn}


@contextmanager
def install(
    control_plane: ControlPlane,
    namespace: str,
    database: TestDatabase,
    start_process: PikoProcessFactory,
    folder: Path,
) -> Iterator[Installation]:
    """Accounts and roles of the chart, for one namespace; nothing runs yet."""
    rendering = render({**EXISTING_SECRET, "operator": {"namespaces": [namespace]}}, namespace=namespace)
    manifest = yaml.safe_dump_all([item for item in rendering.objects if item["kind"] in _RBAC])
    control_plane.kubectl("apply", "-f", "-", input=manifest)
    try:
        yield Installation(
            control_plane=control_plane,
            namespace=namespace,
            database=database,
            rendering=rendering,
            start_process=start_process,
            folder=folder,
        )
    finally:
        control_plane.kubectl("delete", "--ignore-not-found", "-f", "-", input=manifest)

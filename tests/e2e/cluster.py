"""A cluster that a kubeconfig names, asked by kubectl and helm."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHART = Path(__file__).parent.parent.parent / "helm" / "piko"
COMPONENTS = ("runtime", "operator", "web")
_ANSWER_S = 300.0
_LOOK_EVERY_S = 1.0


class StepError(Exception):
    """What the cluster did is not what is promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One namespace of a cluster, and one release in it."""

    kubeconfig: Path
    namespace: str
    helm: str
    release: str = "piko"

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What kubectl prints. Raises `StepError` with what it says where it fails."""
        return self._run(["kubectl", f"--namespace={self.namespace}", *arguments], given)

    def apply_to_its_namespaces(self, given: str, *arguments: str) -> None:
        """Apply resources, each in the namespace that it names. Raises `StepError`."""
        self._run(["kubectl", "apply", *arguments, "-f", "-"], given)

    def helm_of(self, *arguments: str, given: str | None = None) -> str:
        """What helm prints. Raises `StepError`."""
        return self._run([self.helm, f"--namespace={self.namespace}", *arguments], given)

    def found(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """The objects of a kind."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, *arguments, "-o", "json"))["items"]
        return items

    def piko(self, *arguments: str) -> Any:
        """The answer of the command line in a runtime pod, from JSON."""
        pod = self.a_ready_pod("runtime")
        # 1 says that something needs a person, and there is an answer all the same.
        command = ["sh", "-c", 'piko "$@" -o json || [ $? = 1 ]', "piko", *arguments]
        answer = self.kubectl("exec", pod, "-c", "runtime", "--", *command)
        try:
            return json.loads(answer)
        except ValueError:
            raise StepError(f"piko {' '.join(arguments)} in {pod}: {answer[-200:]!r} is no JSON") from None

    def kubeconfig_of(self, name: str, *, role: str, folder: Path) -> Path:
        """A kubeconfig in `folder`, of somebody who has the cluster's role `role` in the namespace alone."""
        account = f"{self.namespace}:{name}"
        self.kubectl("create", "serviceaccount", name)
        self.kubectl("create", "rolebinding", name, f"--clusterrole={role}", f"--serviceaccount={account}")
        token = self.kubectl("create", "token", name, "--duration=1h").strip()
        config = json.loads(self.kubectl("config", "view", "--minify", "--flatten", "-o", "json"))
        config["users"] = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
        path = folder / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def a_ready_pod(self, component: str) -> str:
        """The name of a pod that answers."""
        for pod in self.pods(component):
            conditions = pod["status"].get("conditions", [])
            ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
            if ready and "deletionTimestamp" not in pod["metadata"]:
                return str(pod["metadata"]["name"])
        raise StepError(f"no pod of {component} is ready")

    def pods(self, component: str) -> list[dict[str, Any]]:
        return self.found("pods", "-l", f"app.kubernetes.io/component={component}")

    def nodes_for_pods(self) -> list[str]:
        """The nodes on which pods may be placed."""
        nodes = self.found("nodes")
        return [node["metadata"]["name"] for node in nodes if not node["spec"].get("unschedulable")]

    def node_of(self, pod: str) -> str:
        """The node on which the pod runs."""
        return self.kubectl("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")

    def leader(self) -> str:
        """The pod that leads."""
        holders = [each["holder_host"] for each in self.piko("status")["leaders"] if each["leads"]]
        if len(holders) != 1:
            raise StepError(f"{len(holders)} leaders: {holders}")
        return str(holders[0])

    def wait(self, what: str, condition: Callable[[], bool], *, seconds: float = _ANSWER_S) -> None:
        """Wait until `condition` holds; one that cannot be asked at present does not hold."""
        last, give_up = "", time.monotonic() + seconds
        while time.monotonic() < give_up:
            try:
                if condition():
                    return
            except StepError as error:
                last = f"; last: {error}"
            time.sleep(_LOOK_EVERY_S)
        raise StepError(f"{what}: not within {seconds:g} s{last}")

    def _run(self, command: list[str], given: str | None) -> str:
        outcome = subprocess.run(
            [command[0], f"--kubeconfig={self.kubeconfig}", *command[1:]],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * _ANSWER_S,
        )
        if outcome.returncode:
            raise StepError(f"{' '.join(command)}: {outcome.stderr.strip()[-2000:]}")
        return outcome.stdout

"""`make e2e KUBECONFIG=…`: the chart on a real cluster, from its installation to its end.

The cluster must have the images already, or be able to pull them. One job is due each second; after every
disturbance the rows of its runs are judged: no due time is missed, and none runs twice. The namespace is made
for the trial, refuses pods that are not `restricted`, and is deleted at its end, unless --keep is given.

A real Prometheus with the chart's alerts watches all of it: those of a job that is made to fail fire and end,
and no other may fire but those of a database that is away, while it is.

With --previous-chart and --previous-tag the trial begins with that release, upgrades, and rolls back to it.
After the upgrade pods run as a user that their images do not know, as on OpenShift. A node is drained, where
the cluster has two. Where it has a default storage class, what was spooled is delivered: by a pod that comes
back, and, of one that never does, by a pod that gets its volume.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tests.cli.piko import CANNOT, OK, kubectl_piko
from tests.e2e.cluster import CHART, COMPONENTS, Cluster, StepError
from tests.e2e.database import TrialDatabase
from tests.e2e.load import GREET, Load
from tests.e2e.release import EXAMPLES, Release
from tests.e2e.spooling import Spooling
from tests.e2e.watching import Watch, watching
from tests.harness.locate import find_tool

_READS = ("status", "jobs greet", "runs --job greet -n 3", "late", "logs greet", "why greet", "jobs -o yaml")
DIGEST = """
apiVersion: piko.dev/v1
kind: PikoSchedule
metadata: {name: digest}
spec:
  jobId: digest
  schedule: {interval: {every: 10s}}
  timeout: 1m
  objective: {dataWithin: 20s}
"""
UNKNOWN_USER = {"runAsUser": 1234560000, "runAsGroup": 0}
"""As OpenShift runs pods: a number without a name, in the group of root."""
_ALERTS = frozenset({"PikoJobFailing of digest", "PikoJobLate of digest"})
_ALERTS_OF_THE_DATABASE = frozenset({"PikoDatabaseAway", "PikoNoLeader"})
_ALERTS_OF_THE_PREVIOUS = frozenset({"PikoDueTimesMissed of digest"})
"""It counts due times that it skips as missed, before tables of revision 81."""


class Trial:
    """The steps, in their order."""

    def __init__(self, cluster: Cluster, options: argparse.Namespace) -> None:
        self._cluster = cluster
        self._options = options
        self._began = time.monotonic()
        self._stack = ExitStack()
        self._release = Release(cluster, registry=options.registry)
        self._load = Load(cluster, self._release, say=self.say)
        self._watch: Watch | None = None
        self._caused = set(_ALERTS | (_ALERTS_OF_THE_PREVIOUS if options.previous_chart else set()))
        """Alerts that have a reason."""
        self.troubles: list[str] = []

    def run(self) -> None:
        """Each step; what is not as promised is in `troubles`."""
        steps: list[Callable[[], None]] = [
            self.install,
            self.apply,
            self.test,
            self.scrape,
            self.alert,
            self.upgrade_under_load,
            self.read_with_a_kubeconfig,
            self.kill_the_leader,
            self.drain_a_node,
            self.kill_an_operator,
            self.look_back_at_alerts,
            self.restart_the_database,
            self.change_the_password,
            self.look_back_at_alerts,
            self.keep_what_is_spooled,
            self.roll_back,
            self.uninstall,
        ]
        with self._stack:
            for step in steps:
                if step.__name__ in self._options.skip:
                    continue
                self.say(f"== {step.__name__.replace('_', ' ')}")
                step()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)

    # ---- life of a release ------------------------------------------------------------------------

    def install(self) -> None:
        self._release.make_place()
        previous = self._options.previous_chart
        tag = self._options.previous_tag if previous else self._options.tag
        self._release.upgrade(chart=previous or CHART, tag=tag)
        for pod in self._cluster.found("pods"):
            self.say(f"{pod['metadata']['name']}: {pod['status']['phase']}")

    def apply(self) -> None:
        self._cluster.kubectl("apply", "-f", "-", given=f"{GREET}---{DIGEST}")
        self._cluster.kubectl("apply", "-f", "-", given=self._config())
        self._cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "psch/greet", "psch/digest")
        self._cluster.wait("a run succeeds", lambda: self._last_state("greet") == "SUCCESS")
        for line in self._cluster.kubectl("get", "psch,pjc").splitlines():
            self.say(line)

    def test(self) -> None:
        if self._options.previous_chart:
            self._cluster.helm_of("test", self._cluster.release)
            return
        for line in self._cluster.helm_of("test", self._cluster.release, "--logs").splitlines():
            if line.startswith(("Phase", "http", "greet")):
                self.say(line)

    def scrape(self) -> None:
        self._watch = watch = self._stack.enter_context(watching(self._cluster))
        for component in COMPONENTS:
            running = len(self._cluster.pods(component))
            query = f'count(up{{job="{component}"}} == 1)'
            self._cluster.wait(
                f"every pod of {component} is scraped",
                lambda query=query, running=running: watch.value(query) == running,  # type: ignore[misc]
            )
            series = watch.value(f'count({{__name__=~"piko_.+", job="{component}"}})') or 0
            self.say(f"{component}: {series:g} series of {running} pods")
            if not series and component != "web":  # which has series only of what went wrong
                self.troubles.append(f"{component} exports no metrics of Piko's")

    def alert(self) -> None:
        """A job that fails, and is late by that, until it is repaired."""
        watch = self._watch
        if watch is None:
            return
        self._patch_digest({"timeout": "1ms"})
        self._cluster.wait("alerts fire", lambda: watch.firing() >= _ALERTS)
        self.say(f"fire: {', '.join(sorted(watch.firing()))}")
        self._patch_digest({"timeout": "1m"})
        self._cluster.wait("alerts end", lambda: not watch.firing())
        self.say("none fires once the job is repaired")

    def look_back_at_alerts(self) -> None:
        if self._watch is None:
            return
        fired = self._watch.fired()
        further = fired - self._caused
        self.say(f"have fired: {', '.join(sorted(fired)) or 'none'}")
        if further:
            self.troubles.append(f"alerts that nothing was to cause: {', '.join(sorted(further))}")

    def read_with_a_kubeconfig(self) -> None:
        """`kubectl piko`, of somebody with the cluster's role `view`, and of somebody with `edit`."""
        self._cluster.wait("all is well", lambda: bool(self._cluster.piko("status")["well"]))
        with TemporaryDirectory(prefix="piko-e2e-") as folder:
            for role in ("view", "edit"):
                kubeconfig = self._cluster.kubeconfig_of(f"{role}er", role=role, folder=Path(folder))
                for command in _READS:
                    self._kubectl_piko(kubeconfig, command, role, expected=OK)
                self._kubectl_piko(
                    kubeconfig, "pause digest", role, expected=OK if role == "edit" else CANNOT
                )
        self._patch_digest({"suspend": False})

    def _kubectl_piko(self, kubeconfig: Path, command: str, role: str, *, expected: int) -> None:
        answer = kubectl_piko(
            "-n", self._cluster.namespace, *command.split(), cwd=kubeconfig.parent, kubeconfig=kubeconfig
        )
        said = (answer.out if expected == OK else answer.err).splitlines()
        self.say(f"{role}: {command}: {said[0] if said else ''}")
        if answer.code != expected or (expected == OK and answer.err):
            self.troubles.append(
                f"kubectl piko {command} by {role}: exit {answer.code}: {answer.err.strip()}"
            )

    def upgrade_under_load(self) -> None:
        again: dict[str, Any] = {
            component: {"podAnnotations": {"e2e": "upgraded"}, "podSecurityContext": UNKNOWN_USER}
            for component in COMPONENTS
        }
        self._under_load(lambda: self._release.upgrade(tag=self._options.tag, further=again))
        for component in COMPONENTS:
            pod = self._cluster.a_ready_pod(component)
            who = self._cluster.kubectl("exec", pod, "-c", component, "--", "id").strip()
            self.say(f"{component}: {who}")
        self.test()

    def keep_what_is_spooled(self) -> None:
        """A replica is replaced, or taken away, with results and outcomes on its volume."""
        classes = self._cluster.found("storageclasses")
        default = "storageclass.kubernetes.io/is-default-class"
        if not any(each["metadata"].get("annotations", {}).get(default) == "true" for each in classes):
            self.say("left out: the cluster has no default storage class")
            return
        spooling = Spooling(self._cluster, say=self.say)
        spooling.prepare()
        self._keep_spool(spooling)
        self.troubles += spooling.by_a_pod_that_comes_back()
        self.troubles += spooling.by_a_pod_that_was_scaled_away()
        run_id, claim = spooling.left_by_a_pod_that_never_comes_back()
        self._keep_spool(spooling, claim)
        spooling.by_another_pod(run_id, claim)

    def _keep_spool(self, spooling: Spooling, claim: str = "") -> None:
        values = spooling.values(claim)
        values["runtime"]["podSecurityContext"] = UNKNOWN_USER
        self._release.upgrade(tag=self._options.tag, further=values)
        self._release.wait_until_ready()

    def roll_back(self) -> None:
        self._under_load(
            lambda: self._cluster.helm_of("rollback", self._cluster.release, "1", "--wait", "--timeout=5m")
        )
        pod = self._cluster.a_ready_pod("runtime")
        check = self._cluster.kubectl("exec", pod, "-c", "runtime", "--", "piko", "db", "check").strip()
        self.say(f"the tables are, to the release that is back: {check}")
        self.test()

    def uninstall(self) -> None:
        """With its resources in place; the release before may not have the hook that releases them."""
        cluster = self._cluster
        if self._options.previous_chart:
            self._release.upgrade(tag=self._options.tag)
        self.troubles += self._release.uninstall(
            database=TrialDatabase(cluster), resources=lambda: cluster.found("psch,pjc"), say=self.say
        )
        cluster.kubectl("delete", "psch,pjc", "--all", "--timeout=60s")
        self.say("its resources are deleted without it")

    # ---- disturbances -----------------------------------------------------------------------------

    def kill_the_leader(self) -> None:
        leader = self._cluster.leader()
        self._under_load(lambda: self._delete(leader, "--grace-period=0", "--force"), killed=True)

    def drain_a_node(self) -> None:
        """The leader's, of this release; where there is no other, each pod is evicted in its turn."""
        if len(self._cluster.nodes_for_pods()) < 2:
            self.say("one node: each pod is evicted by the API, as a drain does it")
            self._under_load(self._evict_each)
            return
        node = self._cluster.node_of(self._cluster.leader())
        try:
            self._under_load(lambda: self._drain(node))
        finally:
            self._cluster.kubectl("uncordon", node)

    def _drain(self, node: str) -> None:
        chosen = f"--pod-selector=app.kubernetes.io/instance={self._cluster.release}"
        how = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=5m")
        for line in self._cluster.kubectl("drain", node, chosen, *how).splitlines():
            self.say(line)

    def _evict_each(self) -> None:
        names = [pod["metadata"]["name"] for component in COMPONENTS for pod in self._cluster.pods(component)]
        for name in names:
            # A disruption budget may refuse it for a while.
            self._cluster.wait(f"{name} is evicted", partial(self._evict, name))
            self._release.wait_until_ready()

    def kill_an_operator(self) -> None:
        self._under_load(
            lambda: self._delete(self._cluster.a_ready_pod("operator"), "--grace-period=0", "--force")
        )
        self._patch_digest({"suspend": True})
        self._cluster.wait("a change is mirrored", lambda: self._digest_is_suspended())
        self.say("a change of a resource is mirrored")
        self._patch_digest({"suspend": False})  # else it is late soon, and all is not well

    def _patch_digest(self, spec: dict[str, object]) -> None:
        self._cluster.kubectl("patch", "psch", "digest", "--type=merge", "-p", json.dumps({"spec": spec}))

    def restart_the_database(self) -> None:
        self._caused |= _ALERTS_OF_THE_DATABASE
        self._under_load(lambda: self._cluster.kubectl("exec", "deploy/database", "--", "sh", "-c", "kill 1"))

    def change_the_password(self) -> None:
        before = self._release.containers()
        self._under_load(self._rotate)
        if self._release.containers() != before:
            self.troubles.append("a change of the password restarted a container")
        self.say("no container was restarted")

    def _rotate(self) -> None:
        self._cluster.kubectl(
            "exec", "deploy/database", "--", "sh", "-c",
            'mariadb --host=127.0.0.1 --user="$MARIADB_USER" --password="$MARIADB_PASSWORD" '
            "-e \"SET PASSWORD = PASSWORD('another')\"",
        )  # fmt: skip
        dsn = "mysql+asyncmy://piko:another@database:3306/piko?charset=utf8mb4"
        patch = yaml.safe_dump({"stringData": {"dsn": dsn}})
        self._cluster.kubectl("patch", "secret", "piko-database", "--type=merge", "-p", patch)
        self._cluster.wait("pods have the new password", lambda: self._new_session())

    def _new_session(self) -> bool:
        return bool(self._cluster.piko("status")["well"])

    def _delete(self, pod: str, *how: str) -> None:
        self._cluster.kubectl("delete", "pod", pod, *how)

    def _evict(self, pod: str) -> bool:
        where = {"name": pod, "namespace": self._cluster.namespace}
        path = f"/api/v1/namespaces/{where['namespace']}/pods/{pod}/eviction"
        body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": where})
        self._cluster.kubectl("create", "--raw", path, "-f", "-", given=body)
        return True

    def _under_load(self, disturb: Callable[[], object], *, killed: bool = False) -> None:
        self.troubles += self._load.troubles_of(disturb, killed=killed)

    def _config(self) -> str:
        documents = yaml.safe_load_all((EXAMPLES / "schedule.yaml").read_text(encoding="utf-8"))
        return yaml.safe_dump_all([each for each in documents if each["kind"] == "PikoJobConfig"])

    def _last_state(self, name: str) -> str:
        return self._cluster.kubectl("get", "psch", name, "-o", "jsonpath={.status.lastRun.state}")

    def _digest_is_suspended(self) -> bool:
        return any(each["job_id"] == "digest" and not each["enabled"] for each in self._cluster.piko("jobs"))


def _clear(cluster: Cluster, trial: Trial) -> None:
    """Delete the namespace, after its resources: the operator takes their finalizers off, and nobody else."""
    for what in (("psch,pjc", "--all"), ("namespace", cluster.namespace)):
        try:
            cluster.kubectl("delete", *what, "--ignore-not-found", "--timeout=120s")
        except StepError as error:
            trial.troubles.append(f"clearing up: {error}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", default="piko-e2e")
    parser.add_argument("--tag", default="0.1.0", help="tag of piko-runtime and piko-operator")
    parser.add_argument("--registry", default="", help="registry in front of both")
    parser.add_argument("--previous-chart", type=Path, help="folder of the chart to upgrade from")
    parser.add_argument("--previous-tag", default="", help="tag of its images")
    parser.add_argument(
        "--skip", nargs="*", default=[], help="steps to leave out, by the names of their methods"
    )
    parser.add_argument("--keep", action="store_true", help="leave the namespace as it is at the end")
    options = parser.parse_args()
    cluster = Cluster(kubeconfig=options.kubeconfig, namespace=options.namespace, helm=str(find_tool("helm")))
    trial = Trial(cluster, options)
    try:
        trial.run()
    except StepError as error:
        trial.troubles.append(str(error))
    finally:
        if not options.keep:
            _clear(cluster, trial)
    for trouble in trial.troubles:
        trial.say(f"TROUBLE: {trouble}")
    trial.say(f"{len(trial.troubles)} troubles" if trial.troubles else "all as promised")
    return 1 if trial.troubles else 0


if __name__ == "__main__":
    sys.exit(main())

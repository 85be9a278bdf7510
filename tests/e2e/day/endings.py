"""What ends: a namespace with its resources, a cluster's resources that come back, the release."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cli.piko import OK, kubectl_piko
from tests.e2e.day.place import Place
from tests.e2e.day.resources import (
    CONFIG_POLICIES,
    LEAVING_JOBS,
    SCHEDULE_POLICIES,
    STAYING_JOBS,
    job,
    policy,
)
from tests.e2e.day.rows import content_of_rows, differing

_DELETED_S = 300
_OF_A_SCHEDULE = {"Delete": None, "Forget": None, "Retain": "1", "Disable": "0"}
"""What `enabled` of its row is after the deletion of its resource; None: there is no row."""
_OF_A_CONFIG = {"Delete": None, "Forget": None, "Retain": "NULL"}


def delete_a_namespace(place: Place) -> list[str]:
    """With resources of each deletion policy in it."""
    begin = time.monotonic()
    place.cluster.kubectl("delete", "namespace", place.leaving.namespace, f"--timeout={_DELETED_S}s")
    place.say(f"the namespace is deleted after {time.monotonic() - begin:.1f} s")
    jobs = ", ".join(f"'{job(number)}'" for number in LEAVING_JOBS)
    schedules = _by_job(
        place, f"SELECT job_id, enabled, managed_by FROM scheduled_job WHERE job_id IN ({jobs})"
    )
    configs = _by_job(place, f"SELECT job_id, managed_by FROM job_config WHERE job_id IN ({jobs})")
    states = _by_job(place, f"SELECT job_id, data_through FROM job_state WHERE job_id IN ({jobs})")
    troubles = []
    for number in LEAVING_JOBS:
        name, chosen = job(number), policy(number, SCHEDULE_POLICIES)
        row = schedules.get(name)
        if (row and row["enabled"]) != _OF_A_SCHEDULE[chosen] or (row and row["managed_by"] != "NULL"):
            troubles.append(f"deletionPolicy {chosen} left the row of {name} as {row}")
        if (name in states) != (chosen != "Forget"):
            troubles.append(f"deletionPolicy {chosen} left the progress of {name} as {states.get(name)}")
        config, chosen = configs.get(name), policy(number, CONFIG_POLICIES)
        if (config and config["managed_by"]) != _OF_A_CONFIG[chosen]:
            troubles.append(f"deletionPolicy {chosen} left the config of {name} as {config}")
    place.say(
        f"of {len(LEAVING_JOBS)} jobs {len(schedules)} rows and {len(configs)} configs are left, "
        f"and the progress of {len(states)}"
    )
    return troubles


def _by_job(place: Place, statement: str) -> dict[str, dict[str, str]]:
    return {row["job_id"]: row for row in place.database.rows(statement)}


def restore(place: Place) -> list[str]:
    """The resources are lost with their uids, and applied again from an export of the rows.

    Meanwhile an operator finds the rows without their resources, and has to leave them as they are.
    """
    count = 2 * len(STAYING_JOBS)
    before = content_of_rows(place.database, place.staying.namespace)
    uids = {each["metadata"]["uid"] for each in place.resources.all()}
    with TemporaryDirectory(prefix="piko-day-export-") as name:
        folder = Path(name)
        exported = kubectl_piko(
            "-n", place.cluster.namespace, "export", "--owner", "resource",
            cwd=folder, kubeconfig=place.cluster.kubeconfig,
        )  # fmt: skip
        if exported.code != OK:
            return [f"kubectl piko export: exit {exported.code}: {exported.err}"]
        _lose_resources(place)
        troubles = [f"while they were lost: {line}" for line in _changed(place, before)]
        place.cluster.apply_to_its_namespaces(exported.out, "--server-side", "--field-manager=day")
        place.resources.wait_until_ready(count)
        back = place.resources.all()
        kept = len(uids & {each["metadata"]["uid"] for each in back})
        place.say(f"{len(back)} resources are back, {kept} with their uid")
        troubles += _changed(place, before)
        place.cluster.wait("nothing differs", lambda: _differs_in_nothing(place, folder))
    return troubles


def _differs_in_nothing(place: Place, folder: Path) -> bool:
    """What `kubectl piko diff` says; replicas have each row in force a moment after it was written."""
    compared = kubectl_piko(
        "-n", place.cluster.namespace, "diff", cwd=folder, kubeconfig=place.cluster.kubeconfig
    )
    place.say(f"kubectl piko diff: exit {compared.code}: {(compared.out + compared.err).strip()[-300:]}")
    return compared.code == OK


def _changed(place: Place, before: dict[tuple[str, str], dict[str, str]]) -> list[str]:
    found = differing(before, content_of_rows(place.database, place.staying.namespace))
    place.say(f"{len(before)} rows of schedules, configs and progress were compared, {len(found)} differ")
    return found


def _lose_resources(place: Place) -> None:
    """As a cluster that is lost loses them: no operator is there, and none of their finalizers is heeded."""
    place.cluster.kubectl("scale", "deployment/piko-operator", "--replicas=0")
    place.cluster.wait("no operator is left", lambda: not place.cluster.pods("operator"))
    names = [f"{kind}/{job(number)}" for kind in ("psch", "pjc") for number in STAYING_JOBS]
    place.staying.kubectl("delete", *names, "--wait=false")
    place.staying.kubectl("patch", *names, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    place.cluster.wait("none is left", lambda: not place.resources.all())
    place.cluster.kubectl("scale", "deployment/piko-operator", "--replicas=2")
    place.release.wait_until_ready()
    chosen = f"-l=app.kubernetes.io/instance={place.cluster.release},app.kubernetes.io/component=operator"
    place.cluster.wait(
        "the operator holds the rows",
        lambda: "orphans_held" in place.cluster.kubectl("logs", chosen, "--tail=-1"),
    )
    place.say("the operator finds too many rows without a resource, and changes none of them")


def uninstall(place: Place) -> list[str]:
    """The release ends while it has resources, and then its namespaces are deleted, which hang on nothing."""
    troubles = place.release.uninstall(database=place.database, resources=place.resources.all, say=place.say)
    begin = time.monotonic()
    for namespace in (place.staying.namespace, place.cluster.namespace):
        place.cluster.kubectl("delete", "namespace", namespace, f"--timeout={_DELETED_S}s")
    place.say(f"the namespaces are deleted after {time.monotonic() - begin:.1f} s")
    return troubles

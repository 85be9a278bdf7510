"""Rows that a resource owns: what to say to a person who wants to change one."""

from __future__ import annotations

import json
from collections.abc import Mapping

from piko.errors import RefusedError


def owned_by_resource(job_id: str, owner: str, *, kind: str, patch: Mapping[str, object]) -> RefusedError:
    """The error for a row that a resource manages, with the command to use instead."""
    cluster, namespace, name, _ = owner.split("/", 3)
    if cluster == "dev":
        return RefusedError(
            f"{job_id}: its row is managed by the {kind} {name} of `piko dev`; edit its resource file instead"
        )
    command = f"kubectl patch {kind.lower()} {name} -n {namespace} --type merge -p '{json.dumps(patch)}'"
    return RefusedError(
        f"{job_id}: its row is managed by the {kind} {namespace}/{name} of cluster {cluster}, whose operator "
        f"would undo the change; run instead:\n  {command}"
    )


def edited_at_resource(job_id: str, owner: str, *, kind: str) -> RefusedError:
    """The error for a row that a resource manages, where any field of the resource may be meant."""
    cluster, namespace, name, _ = owner.split("/", 3)
    if cluster == "dev":
        return RefusedError(
            f"{job_id}: its row is managed by the {kind} {name} of `piko dev`; edit its resource file instead"
        )
    return RefusedError(
        f"{job_id}: its row is managed by the {kind} {namespace}/{name} of cluster {cluster}, whose operator "
        f"would undo the change; run instead:\n  kubectl edit {kind.lower()} {name} -n {namespace}"
    )

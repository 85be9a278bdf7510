"""Acts at the resource that owns a row, as `kubectl piko` does with the user's own rights.

The operator would undo an edit of the row. So pause and resume patch the resource, and trigger gives it the
annotation `piko.dev/trigger`; the API server allows that or not, and the operator does the rest. No pod of
the release is needed, and no right but that on the resource.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from piko.cli.answers import Output, show_document
from piko.cli.kubectl_calls import Kubectl, KubectlError
from piko.cli.kubectl_options import output_of
from piko.errors import RefusedError
from piko.text import instant_text, listed
from piko_operator.trigger_annotation import TRIGGER, shown

REASON = "piko.dev/reason"
"""The annotation that keeps why somebody acted at the resource."""
PAUSED = "piko.dev/paused"
"""The annotation that pauses what a resource runs, without an edit of its spec."""
MANAGER = "kubectl-piko"
"""The field manager of every patch."""
_KIND = "pikoschedules.piko.dev"
_SUSPENDS = {"pause": True, "resume": False}
_VERBS = (*_SUSPENDS, "trigger")
_NOT_OWNERS = frozenset({"RowNotManaged", "Conflict", "NotAllowed"})
"""Reasons of the condition Synced with which the row of the job is another's."""
_PATIENCE_S, _LOOK_EVERY_S = 60.0, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceAct:
    """What a command does at a resource; `verb` is pause, resume or trigger."""

    verb: str
    job_id: str
    reason: str | None = None
    dry_run: bool = False
    output: Output = Output.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class OwningResource:
    """A PikoSchedule that declares a job; `served_by` is the operator: namespace and name of its Lease.

    `zone` and `class_name` are those of its spec; None: it names none.
    """

    namespace: str
    name: str
    served_by: str
    owns: bool
    zone: str | None = None
    class_name: str | None = None


def act_of(command: Sequence[str]) -> ResourceAct | None:
    """What `command` does, if a resource knows every option of it; None: it does not."""
    if len(command) < 2 or command[0] not in _VERBS or command[1].startswith("-"):
        return None
    options: dict[str, Any] = {}
    rest = list(command[2:])
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name == "--dry-run" and not equals:
            options["dry_run"] = True
        elif name == "--reason" and (equals or rest):
            options["reason"] = value if equals else rest.pop(0)
        elif name in ("-o", "--output") and (equals or rest):
            options["output"] = output_of([name, value if equals else rest.pop(0)])
            if not options["output"].is_document:
                return None
        else:
            return None
    if "output" in options and command[0] != "trigger":
        return None
    return ResourceAct(verb=command[0], job_id=command[1], **options)


def carry_out(kubectl: Kubectl, act: ResourceAct, *, namespace: str | None) -> int | None:
    """Do it at the resource that owns the row of the job; the exit code. None: no resource does.

    - `namespace`: of the resource or of its operator, where several resources declare the job.

    Raises `RefusedError`.
    """
    found = owner_of(kubectl, act.job_id, namespace=namespace)
    if found is None:
        return None
    if act.verb == "trigger":
        return _trigger(kubectl, found, act)
    unpaused = {PAUSED: None} if act.verb == "resume" else {}
    typer.echo(_patched(kubectl, found, act, annotations={REASON: act.reason, **unpaused}))
    return 0


def owner_of(kubectl: Kubectl, job_id: str, *, namespace: str | None) -> OwningResource | None:
    """The resource that owns the row of the job; None: SQL does. Raises `RefusedError` if several may."""
    items = listed_resources(kubectl, _KIND, "--field-selector", f"spec.jobId={job_id}")
    return owner_among([schedule_of(item) for item in items], job_id, namespace=namespace)


def owner_among(
    found: Sequence[OwningResource], job_id: str, *, namespace: str | None
) -> OwningResource | None:
    """The resource that owns the row of the job; None: SQL does. Raises `RefusedError` if several may."""
    owners = [item for item in found if item.owns]
    if len(owners) > 1 and namespace is not None:
        owners = [
            item for item in owners if namespace in (item.namespace, item.served_by.partition("/")[0])
        ] or owners
    if len(owners) > 1:
        names = listed(sorted(f"{item.namespace}/{item.name}" for item in owners))
        raise RefusedError(f"{job_id}: several resources declare it: {names}; name the namespace of one: -n")
    return owners[0] if owners else None


def patch_of(found: OwningResource, act: ResourceAct, *, annotations: Mapping[str, str | None]) -> list[str]:
    """What kubectl is asked for; an annotation that is None is removed."""
    patch: dict[str, Any] = {"metadata": {"annotations": dict(annotations)}}
    if act.verb in _SUSPENDS:
        patch["spec"] = {"suspend": _SUSPENDS[act.verb]}
    words = ["patch", _KIND, found.name, "-n", found.namespace, "--type", "merge", "-p", json.dumps(patch)]
    return [*words, f"--field-manager={MANAGER}", *(["--dry-run=server"] if act.dry_run else [])]


def schedule_of(item: Mapping[str, Any]) -> OwningResource:
    """What is needed of a resource."""
    meta, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    reasons = {each["reason"] for each in status.get("conditions") or () if each["type"] == "Synced"}
    return OwningResource(
        namespace=meta["namespace"],
        name=meta["name"],
        served_by=status.get("servedBy") or "",
        owns=not reasons & _NOT_OWNERS,
        zone=spec.get("timeZone"),
        class_name=spec.get("className"),
    )


def listed_resources(kubectl: Kubectl, kind: str, *selector: str) -> list[dict[str, Any]]:
    """The resources of a kind: of all namespaces, or of one if that is all the user may list.

    There are none where the cluster has no such kind, or the user may not list it. Raises `KubectlError`.
    """
    words = ["get", kind, *selector]
    try:
        found = kubectl.asked([*words, "-A"])
    except KubectlError as error:
        if "the server doesn't have a resource type" in error.answer:
            return []
        if not error.forbids:
            raise
        try:
            found = kubectl.asked(words)
        except KubectlError as here:
            if here.forbids:
                return []
            raise
    return list(found["items"])


def _patched(
    kubectl: Kubectl, found: OwningResource, act: ResourceAct, *, annotations: Mapping[str, str | None]
) -> str:
    """Patch the resource; what kubectl says. Raises `KubectlError`."""
    said = kubectl.text(patch_of(found, act, annotations=annotations)).strip()
    return f"{act.job_id}: {said} in namespace {found.namespace}{' (--dry-run)' if act.dry_run else ''}"


def _trigger(kubectl: Kubectl, found: OwningResource, act: ResourceAct) -> int:
    """Give the annotation a new value, and say what the operator did about it."""
    value = _new_value(kubectl.user(), act.reason)
    patched = _patched(kubectl, found, act, annotations={TRIGGER: value})
    if act.dry_run:
        typer.echo(patched)
        return 0
    answer = _answer(kubectl, found, value)
    where = f"PikoSchedule {found.namespace}/{found.name}"
    if answer is None:
        typer.echo(
            f"{act.job_id}: the annotation {TRIGGER} of {where} asks for a run, and its operator has not "
            f"answered within {_PATIENCE_S:g} s; it does once it is back: "
            f"kubectl describe pikoschedule {found.name} -n {found.namespace}",
            err=True,
        )
        return 1
    if "refusal" in answer:
        raise RefusedError(str(answer["refusal"]))
    if act.output.is_document:
        run = {"run_id": answer["runId"], "job_id": act.job_id, "scheduled_time": answer["scheduledTime"]}
        show_document({**run, "attempt": 1, "state": "QUEUED", "error": None}, act.output)
    else:
        typer.echo(f"{act.job_id}: queued as run {answer['runId']}, by the annotation {TRIGGER} of {where}")
    return 0


def _new_value(user: str | None, reason: str | None) -> str:
    """A value that the annotation has never had, which says in `change_log` who asked, and why."""
    from piko.clock import SystemClock

    asked = " ".join(part for part in (instant_text(SystemClock().now()), user) if part)
    return asked if reason is None else f"{asked}: {reason}"


def _answer(kubectl: Kubectl, found: OwningResource, value: str) -> dict[str, Any] | None:
    """What the status says about `value`; None if it does not within `_PATIENCE_S`."""
    from piko.clock import SystemClock

    clock = SystemClock()
    give_up = clock.monotonic() + _PATIENCE_S
    while clock.monotonic() < give_up:
        status = kubectl.asked(["get", _KIND, found.name, "-n", found.namespace]).get("status") or {}
        known: dict[str, Any] = status.get("trigger") or {}
        if known.get("value") == shown(value):
            return known
        time.sleep(_LOOK_EVERY_S)
    return None

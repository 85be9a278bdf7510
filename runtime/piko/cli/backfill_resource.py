"""Backfills by a resource, as `kubectl piko` asks for them with the user's own rights.

Where a PikoSchedule owns the row of the job, a PikoBackfill beside it asks for the windows, and its operator
does the rest: no pod of the release is needed. What it refuses leaves no resource behind, as a command that
fails has asked for nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import typer

from piko.cli.answers import Output, instant, say, show_document
from piko.cli.at_resource import MANAGER, PAUSED, REASON, OwningResource, listed_resources, owner_of
from piko.cli.kubectl_calls import Kubectl, KubectlError
from piko.cli.kubectl_options import output_of
from piko.errors import RefusedError
from piko.text import counted, instant_text, listed

_KIND = "pikobackfills.piko.dev"
_SUSPENDS = {"pause": True, "resume": False}
_KEPT = "168h"
"""How long the resource stays after its last window: a person may look at it for a week."""
_PATIENCE_S, _LOOK_EVERY_S = 60.0, 0.25
_RETRIED = "; this is retried"


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeAsked:
    """`backfill JOB --from A --to B`, as it was typed."""

    job_id: str
    start: str
    end: str
    parallel: int = 1
    reason: str | None = None
    output: Output = Output.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillSwitch:
    """`backfill pause ID` or `resume`; `backfill` is the beginning of its id, or the name of its resource."""

    verb: str
    backfill: str
    reason: str | None = None
    dry_run: bool = False


def read_backfill(command: Sequence[str]) -> RangeAsked | BackfillSwitch | None:
    """What `command` asks of a resource, if a resource knows every option of it; None: it does not."""
    if not command or command[0] != "backfill":
        return None
    words = list(command[1:])
    verb = words.pop(0) if words and words[0] in (*_SUSPENDS, "start") else "start"
    if not words or words[0].startswith("-") or words[0] in ("status", "cancel"):
        return None
    what, given = words[0], _options(words[1:])
    if given is None:
        return None
    if verb in _SUSPENDS:
        if given.keys() - {"--reason", "--dry-run"}:
            return None
        return BackfillSwitch(
            verb=verb, backfill=what, reason=given.get("--reason"), dry_run="--dry-run" in given
        )
    output, parallel = Output.TEXT, given.get("--parallel", "1")
    if "--output" in given:
        output = output_of(["--output", given["--output"]])
    known = {"--from", "--to"} <= given.keys() and "--dry-run" not in given and parallel.isdigit()
    if not known or ("--output" in given and not output.is_document):
        return None
    return RangeAsked(
        job_id=what,
        start=given["--from"],
        end=given["--to"],
        parallel=int(parallel),
        reason=given.get("--reason"),
        output=output,
    )


_VALUES = ("--from", "--to", "--parallel", "--reason", "--output")


def _options(words: Sequence[str]) -> dict[str, str] | None:
    """The options by their long names; None if one of them is not known, or has no value."""
    found, rest = {}, list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        name = "--output" if name == "-o" else name
        if name == "--dry-run" and not equals:
            found[name] = ""
        elif name in _VALUES and (equals or rest):
            found[name] = value if equals else rest.pop(0)
        else:
            return None
    return found


def carry_out_backfill(
    kubectl: Kubectl, act: RangeAsked | BackfillSwitch, *, namespace: str | None
) -> int | None:
    """Do it by a resource; the exit code. None: none owns the job, or has asked for the backfill.

    - `namespace`: of the resource or of its operator, where several resources declare the job.

    Raises `RefusedError`.
    """
    if isinstance(act, BackfillSwitch):
        return _switch(kubectl, act)
    found = owner_of(kubectl, act.job_id, namespace=namespace)
    return None if found is None else _start(kubectl, found, act)


def body_of(found: OwningResource, act: RangeAsked) -> dict[str, Any]:
    """The PikoBackfill that asks for the range. Raises `RefusedError` for an instant that cannot be read."""
    start, end = (
        _instant(text, option, found) for text, option in ((act.start, "--from"), (act.end, "--to"))
    )
    metadata: dict[str, Any] = {"generateName": f"{found.name}-", "namespace": found.namespace}
    if act.reason is not None:
        metadata["annotations"] = {REASON: act.reason}
    spec: dict[str, Any] = {"jobId": act.job_id, "from": instant_text(start), "to": instant_text(end)}
    spec |= {"parallel": act.parallel, "ttlAfterFinished": _KEPT}
    if found.class_name is not None:
        spec["className"] = found.class_name
    return {"apiVersion": "piko.dev/v1", "kind": "PikoBackfill", "metadata": metadata, "spec": spec}


def _instant(text: str, option: str, found: OwningResource) -> datetime:
    moment = instant(text, option=option, zone=found.zone or "UTC")
    if found.zone is None and datetime.fromisoformat(text.strip()).tzinfo is None:
        raise RefusedError(
            f"{option} = {text!r}: the PikoSchedule {found.namespace}/{found.name} names no zone to "
            f"read it in; write the offset, such as {instant_text(moment)}"
        )
    return moment


def _start(kubectl: Kubectl, found: OwningResource, act: RangeAsked) -> int:
    """Create the PikoBackfill, and say what the operator did about it."""
    body = body_of(found, act)
    words = ["create", "-f", "-", "-o", "json", f"--field-manager={MANAGER}"]
    made = json.loads(kubectl.text(words, stdin=json.dumps(body)))
    name = made["metadata"]["name"]
    where = f"PikoBackfill {found.namespace}/{name}"
    status = _answered(kubectl, found.namespace, name)
    if status is None:
        typer.echo(
            f"{act.job_id}: {where} asks for the windows, and its operator has not answered within "
            f"{_PATIENCE_S:g} s; it does once it is back: kubectl describe pbf {name} -n {found.namespace}",
            err=True,
        )
        return 1
    answer = _synced(status)
    if answer["status"] == "False" and answer["reason"] != "NotDue":
        raise RefusedError(f"{act.job_id}: {_withdrawn(kubectl, found.namespace, name, answer['message'])}")
    _show(act, body["spec"], status, where)
    return 0


def _withdrawn(kubectl: Kubectl, namespace: str, name: str, message: str) -> str:
    """Delete the resource of a refused backfill; the refusal for the person."""
    try:
        kubectl.text(["delete", _KIND, name, "-n", namespace, "--wait=false"])
    except KubectlError as error:
        return f"{message}: PikoBackfill {namespace}/{name} stays: {error}"
    return message.removesuffix(_RETRIED)


def _show(act: RangeAsked, spec: Mapping[str, Any], status: Mapping[str, Any], where: str) -> None:
    backfill_id, total = status.get("backfillId"), (status.get("windows") or {}).get("total")
    if act.output.is_document:
        answer = {"backfill_id": backfill_id, "job_id": act.job_id, "start": spec["from"], "end": spec["to"]}
        show_document({**answer, "windows_total": total, "resource": where}, act.output)
    elif backfill_id is None:
        typer.echo(f"{act.job_id}: {where}: {_synced(status)['message']}")
    else:
        extent = f"{counted(total or 0, 'window')} between {spec['from']} and {spec['to']}"
        typer.echo(f"{act.job_id}: backfill {backfill_id}: {extent}, {act.parallel} at once, by {where}")
        say(f"see `piko backfill status {backfill_id}`")


def _answered(kubectl: Kubectl, namespace: str, name: str) -> dict[str, Any] | None:
    """The status once the operator knows what to do; None if it does not within `_PATIENCE_S`."""
    from piko.clock import SystemClock

    clock = SystemClock()
    give_up = clock.monotonic() + _PATIENCE_S
    while clock.monotonic() < give_up:
        found = kubectl.asked(["get", _KIND, name, "-n", namespace])
        status: dict[str, Any] = found.get("status") or {}
        if _synced(status)["status"] != "Unknown":
            return status
        time.sleep(_LOOK_EVERY_S)
    return None


def _synced(status: Mapping[str, Any]) -> Mapping[str, str]:
    """The condition Synced; Unknown if there is none yet."""
    found = (item for item in status.get("conditions") or () if item["type"] == "Synced")
    return next(found, {"status": "Unknown", "reason": "", "message": ""})


def _switch(kubectl: Kubectl, act: BackfillSwitch) -> int | None:
    """Pause or resume the backfill at its resource."""
    found = [
        item["metadata"]
        for item in listed_resources(kubectl, _KIND)
        if item["metadata"]["name"] == act.backfill
        or str((item.get("status") or {}).get("backfillId", "")).startswith(act.backfill)
    ]
    if len(found) > 1:
        names = listed(sorted(f"{item['namespace']}/{item['name']}" for item in found))
        raise RefusedError(f"{act.backfill}: several resources are meant: {names}; write more of the id")
    if not found:
        return None
    namespace, name = found[0]["namespace"], found[0]["name"]
    unpaused = {PAUSED: None} if act.verb == "resume" else {}
    patch = {
        "metadata": {"annotations": {REASON: act.reason, **unpaused}},
        "spec": {"suspend": _SUSPENDS[act.verb]},
    }
    words = ["patch", _KIND, name, "-n", namespace, "--type", "merge", "-p", json.dumps(patch)]
    dry = ["--dry-run=server"] if act.dry_run else []
    said = kubectl.text([*words, f"--field-manager={MANAGER}", *dry]).strip()
    typer.echo(f"{act.backfill}: {said} in namespace {namespace}{' (--dry-run)' if act.dry_run else ''}")
    return 0

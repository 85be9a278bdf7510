"""The decision on one request of the API server.

Nothing is ever changed here. A resource that is being deleted, whose spec stays as it is, or that another
operator serves is let through: a refusal must never stand in the way of a finalizer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from piko.store.reports.overview import JobReport
from piko.text import excerpt, instant_text, listed
from piko_operator.annotations import pause_in
from piko_operator.checks import caught_up, check_config, check_schedule, surprises
from piko_operator.manifests import explain
from piko_operator.resources import MODELS, Manifest, PikoBackfill, PikoJobConfig, PikoSchedule
from piko_operator.tenancy import Tenant, not_allowed, serves

PROTECTED = "piko.dev/protected"
_MESSAGE_LIMIT = 4_000
_WARNING_LIMIT = 250
"""Characters of a warning; the API server cuts longer ones off, and all together at 4,096."""
_MOST_WARNINGS = 10

Schema = Callable[[str], Awaitable[str | None]]
"""The JSON Schema that the code of a job has published; None if there is none, or if it cannot be read."""
Known = Callable[[str], Awaitable[JobReport | None]]
"""What the database has of a job; None if that is nothing, or if it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewAnswer:
    """The answer to one request: it is allowed unless `refusal` says why not."""

    refusal: str | None = None
    warnings: Sequence[str] = ()


def check_form(request: Mapping[str, Any], *, class_name: str | None) -> ReviewAnswer:
    """The answer to a request whose resource the definitions have not looked at yet.

    They refuse the same, and some of it in words that nobody can read: that a text matches no pattern, that a
    list of alternatives holds none. So what has no usable form is refused here first.
    """
    new, old = request.get("object") or {}, request.get("oldObject") or {}
    if not serves(new.get("spec") or {}, class_name) or _stays_as_it_is(new, old):
        return ReviewAnswer()
    try:
        _model(new, request)
    except ValidationError as error:
        return ReviewAnswer(refusal=listed(explain(error), separator="; "))
    return ReviewAnswer()


async def review(
    request: Mapping[str, Any],
    *,
    class_name: str | None,
    tenants: Sequence[Tenant],
    schema: Schema,
    known: Known,
    zone: str,
    now: datetime,
) -> ReviewAnswer:
    """The answer to the `request` of an AdmissionReview.

    - `class_name`: the class that the operator serves.
    - `tenants`: which namespace may claim which jobs.
    - `schema`: what the code of a job accepts as its config.
    - `known`: what the database has of a job.
    - `zone`: that of schedules that name none.
    - `now`: from when on a schedule has to fire.
    """
    new, old = request.get("object") or {}, request.get("oldObject") or {}
    if not serves((new or old).get("spec") or {}, class_name):
        return ReviewAnswer()
    if request["operation"] == "DELETE":
        return _deletion(old)
    resumed = _is_paused(old) and not _is_paused(new)
    if _stays_as_it_is(new, old) and not resumed:
        return ReviewAnswer()
    try:
        resource = _model(new, request)
    except ValidationError as error:
        return ReviewAnswer(refusal=listed(explain(error), separator="; "))
    made_up: Sequence[str] = ()
    if resumed:
        made_up = await _made_up(resource, known, zone=zone, now=now)
    if _stays_as_it_is(new, old):
        return ReviewAnswer(warnings=made_up)
    refusal = not_allowed(resource, tenants)
    if refusal is not None:
        return ReviewAnswer(refusal=refusal)
    if isinstance(resource, PikoBackfill):
        return _backfill(resource, now)
    if isinstance(resource, PikoJobConfig):
        return await _config(resource, schema)
    answer = _schedule(resource, _previous(old, request), zone=zone, now=now)
    return replace(answer, warnings=[*made_up, *answer.warnings])


def response(uid: str, answer: ReviewAnswer) -> dict[str, Any]:
    """The AdmissionReview that says `answer`."""
    body: dict[str, Any] = {"uid": uid, "allowed": answer.refusal is None}
    if answer.refusal is not None:
        message = excerpt(answer.refusal, limit=_MESSAGE_LIMIT)
        body["status"] = {"code": 422, "reason": "Invalid", "message": message}
    if answer.warnings:
        shown = list(answer.warnings)[:_MOST_WARNINGS]
        body["warnings"] = [excerpt(text, limit=_WARNING_LIMIT) for text in shown]
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": body}


def _stays_as_it_is(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether the resource is being deleted, or keeps its spec: then nothing may stand in its way."""
    return "deletionTimestamp" in new["metadata"] or bool(old and new.get("spec") == old.get("spec"))


def _is_paused(body: Mapping[str, Any]) -> bool:
    annotations = body.get("metadata", {}).get("annotations") or {}
    return bool((body.get("spec") or {}).get("suspend")) or pause_in(annotations) is not None


async def _made_up(resource: Manifest, known: Known, *, zone: str, now: datetime) -> Sequence[str]:
    """What the schedule, which is resumed, makes up of the time of its pause."""
    job = await known(resource.spec.job_id) if isinstance(resource, PikoSchedule) else None
    if job is None or not isinstance(resource, PikoSchedule):
        return ()
    said = caught_up(resource, stateful=bool(job.stateful), watermark=job.last_data_time, zone=zone, now=now)
    return () if said is None else (said,)


def _schedule(
    resource: PikoSchedule, previous: PikoSchedule | None, *, zone: str, now: datetime
) -> ReviewAnswer:
    checked = check_schedule(resource, zone=zone, now=now)
    if checked.problem is not None:
        return ReviewAnswer(refusal=checked.problem)
    found = surprises(resource, previous, zone=zone, now=now)
    return ReviewAnswer(warnings=[*filter(None, [checked.warning]), *found])


def _deletion(old: Mapping[str, Any]) -> ReviewAnswer:
    annotations = old["metadata"].get("annotations") or {}
    if annotations.get(PROTECTED) != "true":
        return ReviewAnswer()
    name = old["metadata"]["name"]
    return ReviewAnswer(
        refusal=f"metadata.annotations: {name} is protected from deletion by {PROTECTED}: 'true'; to "
        f"delete it, remove the annotation first: kubectl annotate {old['kind'].lower()} {name} {PROTECTED}-"
    )


def _backfill(resource: PikoBackfill, now: datetime) -> ReviewAnswer:
    end = resource.spec.end
    if end <= now:
        return ReviewAnswer()
    return ReviewAnswer(warnings=[f"spec.to: no window runs before {instant_text(end)} has passed"])


async def _config(resource: PikoJobConfig, schema: Schema) -> ReviewAnswer:
    if resource.spec.config_from:  # what Secrets and ConfigMaps add is checked when a replica reads the row
        return ReviewAnswer()
    published = await schema(resource.spec.job_id)
    if published is None:
        return ReviewAnswer()
    checked = check_config(resource.spec.config, published)
    return ReviewAnswer(refusal=checked.problem, warnings=[*filter(None, [checked.warning])])


def _model(body: Mapping[str, Any], request: Mapping[str, Any]) -> Manifest:
    name = body["metadata"].get("name") or "generated"  # a name that is generated is not there yet
    document = {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": {"name": name, "namespace": request["namespace"]},
        "spec": body.get("spec"),
    }
    return MODELS[request["kind"]["kind"]].model_validate(document)


def _previous(old: Mapping[str, Any], request: Mapping[str, Any]) -> PikoSchedule | None:
    try:
        resource = _model(old, request) if old else None
    except ValidationError:
        return None
    return resource if isinstance(resource, PikoSchedule) else None

"""CronJobs of Kubernetes as schedules: manifests of `batch/v1`, as written or as `kubectl get` prints them.

The controller reads schedules by github.com/robfig/cron; where that and Piko differ, the CronJob is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from piko.imports.translations import Left, Translated
from piko_operator.documents import DocumentError, Node, read_documents

_KINDS = (("batch/v1", "CronJob"), ("batch/v1beta1", "CronJob"))
_OVERLAP = {"Allow": "Allow", "Forbid": "Skip", "Replace": "Replace"}
_HISTORY = {"successfulJobsHistoryLimit": "successful", "failedJobsHistoryLimit": "failed"}
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)")
_EVERY = "@every "


class _LeftError(ValueError):
    """Why a CronJob is left."""


def read_cronjobs(text: str) -> tuple[list[Translated], list[Left]]:
    """The schedules of the CronJobs in a YAML or JSON text, and those without a counterpart.

    Documents of other kinds are passed over; of a list, each item is read.
    """
    found: list[Translated] = []
    left: list[Left] = []
    for document in read_documents(text):
        if isinstance(document, DocumentError):
            left.append(Left(line=document.line, what="a document", why=str(document)))
            continue
        for path, part in _cronjobs(document):
            line = document.line_of((*path, "spec", "schedule"))
            try:
                found.append(_translated(part, line))
            except _LeftError as error:
                what = f"CronJob {_part(part, 'metadata').get('name')}"
                left.append(Left(line=line, what=what, why=str(error)))
    return found, left


def _cronjobs(document: Node) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    value = document.value
    items = value.get("items") if isinstance(value, Mapping) else None
    places: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    if isinstance(items, list):
        places = [(("items", number), item) for number, item in enumerate(items)]
    for path, part in places:
        if isinstance(part, Mapping) and (part.get("apiVersion"), part.get("kind")) in _KINDS:
            yield path, part


def _translated(part: Mapping[str, Any], line: int) -> Translated:
    metadata, spec = _part(part, "metadata"), _part(part, "spec")
    name, before = metadata.get("name"), spec.get("schedule")
    if not isinstance(name, str) or not isinstance(before, str):
        raise _LeftError("metadata.name and spec.schedule: expected texts")
    return Translated(
        line=line,
        name=name,
        spec=_spec(spec, before),
        before=f"CronJob {name}, {before}",
        metadata={key: metadata[key] for key in ("namespace", "labels") if metadata.get(key)},
        notes=tuple(_notes(spec)),
    )


def _spec(spec: Mapping[str, Any], before: str) -> dict[str, Any]:
    job = _part(_part(spec, "jobTemplate"), "spec")
    schedule, zone = _schedule(before)
    policy = spec.get("concurrencyPolicy", "Allow")
    if policy not in _OVERLAP:
        raise _LeftError(f"spec.concurrencyPolicy = {policy!r}: expected {', '.join(_OVERLAP)}")
    wanted = {
        "schedule": schedule,
        "timeZone": spec.get("timeZone", zone),
        "suspend": spec.get("suspend") or None,
        "misfireGrace": _seconds(spec, "startingDeadlineSeconds"),
        "overlap": {"policy": _OVERLAP[policy]},
        "timeout": _seconds(job, "activeDeadlineSeconds"),
        "retry": None if (retries := _whole(job, "backoffLimit")) is None else {"maxAttempts": retries + 1},
        "history": {ours: kept for key, ours in _HISTORY.items() if (kept := _whole(spec, key)) is not None},
    }
    return {key: value for key, value in wanted.items() if value not in (None, {})}


def _schedule(before: str) -> tuple[dict[str, Any], str | None]:
    """What `spec.schedule` of the resource is, and the zone that a schedule may begin with."""
    named = _ZONE.fullmatch(before.strip())
    zone, text = named.groups() if named else (None, before.strip())
    if text.startswith(_EVERY):
        return {"interval": {"every": text.removeprefix(_EVERY).strip()}}, zone
    if text.startswith("@"):
        return {"cron": text}, zone
    fields = text.split()
    if len(fields) != 5:
        raise _LeftError(f"spec.schedule = {text!r}: has {len(fields)} fields; expected five")
    days = {fields[2], fields[4]}
    if any(day.startswith("*/") for day in days) and not days & {"*", "?"}:
        raise _LeftError(
            f"spec.schedule = {text!r}: either day was enough; in Piko both must match if one begins with *. "
            f"List its days instead, such as 1,11,21,31"
        )
    return {"cron": " ".join("*" if field == "?" else field for field in fields)}, zone


def _notes(spec: Mapping[str, Any]) -> Iterator[str]:
    job = _part(_part(spec, "jobTemplate"), "spec")
    containers = _part(_part(job, "template"), "spec").get("containers")
    for container in containers if isinstance(containers, list) else ():
        if isinstance(container, Mapping):
            words = [container.get("image"), *_list(container, "command"), *_list(container, "args")]
            yield f"Its container ran: {' '.join(map(str, words))}"
    if spec.get("timeZone") is None and not _ZONE.match(str(spec.get("schedule"))):
        yield "It had no zone: that of the controller held, usually UTC."
    if spec.get("startingDeadlineSeconds") is None:
        yield "It had no startingDeadlineSeconds: no start was too late. Here one is after misfireGrace, 5m."
    for key in ("parallelism", "completions"):
        if (_whole(job, key) or 1) > 1:
            yield f"It had {key}: {job[key]}. Here a run is one handler."


def _part(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = value.get(key)
    return part if isinstance(part, Mapping) else {}


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    part = value.get(key)
    return part if isinstance(part, list) else []


def _whole(value: Mapping[str, Any], key: str) -> int | None:
    number = value.get(key)
    if number is None:
        return None
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return number
    raise _LeftError(f"{key} = {number!r}: expected a whole number")


def _seconds(value: Mapping[str, Any], key: str) -> str | None:
    number = _whole(value, key)
    return None if number is None else f"{number}s"

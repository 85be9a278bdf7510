"""Maps a row to the resource that becomes it: the inverse of `piko_operator.mapping`.

A row may hold what no resource says, such as more digits or a larger number. Such a row has no resource:
what came out would not become it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any

from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from piko.errors import ManifestError, ScheduleError
from piko.json_object import read_object
from piko.model.configs import ConfigContent
from piko.model.schedules import ScheduleOptions
from piko.schedule import schedule_of_row
from piko_operator.config_spec import JobConfigSpec
from piko_operator.field_types import Column, SpecPart
from piko_operator.manifests import parse_manifest
from piko_operator.mapping import config_row, schedule_row
from piko_operator.resources import API_VERSION, PikoJobConfig, PikoSchedule
from piko_operator.schedule_spec import ScheduleSpec
from piko_operator.shapes import duration_text
from piko_operator.trigger_spec import TriggerSpec

_UNIT_SECONDS = {"weeks": 604_800, "days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
_ANY_ZONE = "UTC"
"""Instead of the setting, where both rows name none: what is compared is how they are written."""
_NOT_COMPARED = frozenset(
    ("schedule_type", "schedule_expr", "managed_by", "updated_by", "config_json", "secret_json")
)
"""Columns that are compared by what they mean, or that say whose the row is."""


def schedule_document(
    row: ScheduleOptions, *, metadata: Mapping[str, str], extra: Mapping[str, str]
) -> dict[str, Any]:
    """The PikoSchedule that becomes `row`.

    - `extra`: what the spec says that no column does, such as `adoptionPolicy`.

    Raises `ManifestError` if there is none, and says why.
    """
    spec = {"jobId": row.job_id, "schedule": trigger_document(row.schedule_type, row.schedule_expr)}
    document = _document("PikoSchedule", metadata, spec | _said(ScheduleSpec, row) | dict(extra))
    again = schedule_row(PikoSchedule.model_validate(document), owner=None)
    _check_same(row, again)
    try:
        same = means_the_same(row, again)
    except ScheduleError as error:
        raise ManifestError(f"its schedule cannot be used: {error}") from None
    if not same:
        raise ManifestError(f"schedule_expr {row.schedule_expr}: no resource means the same")
    return document


def means_the_same(row: ScheduleOptions, other: ScheduleOptions) -> bool:
    """Whether two rows with the same zone and bounds are due at the same instants. Raises `ScheduleError`."""
    first, second = (schedule_of_row(each, timezone=_ANY_ZONE) for each in (row, other))
    return first.fingerprint == second.fingerprint


def config_document(
    row: ConfigContent, *, metadata: Mapping[str, str], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """The PikoJobConfig that becomes `row`, but for its secret part. Raises `ManifestError` as above."""
    try:
        config = read_object(row.config_json)
    except ValueError as error:
        raise ManifestError(f"config_json {error}") from None
    spec = {"jobId": row.job_id} | _said(JobConfigSpec, row) | dict(extra)
    document = _document("PikoJobConfig", metadata, spec)
    again = config_row(PikoJobConfig.model_validate(document), owner=None)
    _check_same(row, again)
    if json.loads(again.config_json) != config:
        raise ManifestError("config_json: no resource says the same")
    return document


def trigger_document(schedule_type: str, schedule_expr: str) -> dict[str, Any]:
    """What `spec.schedule` says for the two columns. Raises `ManifestError` if they are no schedule."""
    try:
        found = json.loads(schedule_expr, parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError):
        raise ManifestError("schedule_expr is not JSON") from None
    if schedule_type == "cron" and isinstance(found, str):
        return {"cron": found.strip()}
    if not isinstance(found, dict):
        raise ManifestError("schedule_expr is not an object")
    if schedule_type == "cron" and isinstance(found.get("cron"), str) and len(found) == 1:
        return {"cron": found["cron"].strip()}
    if schedule_type == "interval" and any(isinstance(value, Decimal) for value in found.values()):
        found = _in_every(found)
    return {schedule_type: {to_camel(key): value for key, value in found.items()}}


def _in_every(expression: Mapping[str, Any]) -> dict[str, Any]:
    """An interval with a fraction of a second, which the units of a resource do not have."""
    units = {key: value for key, value in expression.items() if key in _UNIT_SECONDS}
    try:
        seconds = sum((Decimal(value) * _UNIT_SECONDS[key] for key, value in units.items()), Decimal(0))
        every = duration_text(float(seconds))
    except (ArithmeticError, TypeError, ValueError):
        raise ManifestError("schedule_expr is no interval") from None
    return {"every": every} | {key: value for key, value in expression.items() if key not in units}


def _document(kind: str, metadata: Mapping[str, str], spec: Mapping[str, Any]) -> dict[str, Any]:
    document = {"apiVersion": API_VERSION, "kind": kind, "metadata": dict(metadata), "spec": dict(spec)}
    parse_manifest(document, "as a resource")
    return document


def _said(part: type[SpecPart], row: object) -> dict[str, Any]:
    """What a spec of that form says of the columns of `row`, without what goes without saying."""
    found: dict[str, Any] = {}
    for name, info in part.model_fields.items():
        key = info.alias or name
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, SpecPart):
            if kind is not TriggerSpec and (inner := _said(kind, row)):
                found[key] = inner
            continue
        for column in _columns(info):
            held = getattr(row, column.name)
            value = None if held is None else column.back(held)
            if value != info.default:
                found[key] = value
    return found


def _columns(info: FieldInfo) -> Iterator[Column]:
    return (item for item in info.metadata if isinstance(item, Column))


def _check_same(row: object, again: Any) -> None:
    for item in fields(again):
        if item.name in _NOT_COMPARED:
            continue
        before, after = getattr(row, item.name), getattr(again, item.name)
        if before != after:
            raise ManifestError(f"{item.name} is {before!r}, of which a resource would make {after!r}")

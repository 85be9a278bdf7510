"""Editing the row of a schedule field by field, without SQL: what repairs a row that is invalid.

The row as a whole has to be valid afterwards. So an edit cannot make another invalid row, whatever the row
was before, and its error is the one that the leader would write into the status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from piko.errors import InputError, RefusedError, did_you_mean
from piko.model.changes import Actor
from piko.model.columns import AboveZero, Between, Characters, Limit, OneOf, rule_of
from piko.model.schedules import ScheduleOptions
from piko.schedule import parse_schedule
from piko.steering.owners import edited_at_resource
from piko.steering.schedules import stale_row
from piko.store.edits import Edits
from piko.store.engine import Database
from piko.store.reports.overview import Overview, unknown_job

FIELDS: Mapping[str, Field[Any]] = {
    item.name: item for item in fields(ScheduleOptions) if item.name not in ("job_id", "enabled")
}
"""What can be edited, by name. A schedule is switched off and on by `pause` and `resume`."""
_WORDS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEdit:
    """Fields of a row that were changed, or would be, and the next due time that follows."""

    job_id: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    next_run_at: datetime | None
    changed: bool


async def edit_schedule(
    database: Database,
    job_id: str,
    given: Mapping[str, str],
    *,
    zone: str,
    now: datetime,
    actor: Actor,
    dry_run: bool = False,
) -> ScheduleEdit:
    """Change the fields `given`, texts by name, of a schedule that SQL owns; `null` empties a field.

    - `zone`: the zone of schedules that name none.
    - `dry_run`: check it, and change nothing.

    Raises `NotFoundError`, `InputError` for a value that a field cannot hold or a row that would be invalid,
    `RefusedError` if a resource owns the row, and `StaleError` if somebody edits it meanwhile.
    """
    values = {name: value_of(name, text) for name, text in given.items()}
    job = await Overview(database=database).job(job_id)
    if job is None:
        raise await unknown_job(database, job_id)
    if job.managed_by is not None:
        raise edited_at_resource(job_id, job.managed_by, kind="PikoSchedule")
    row: dict[str, Any] = {name: values.get(name, getattr(job, name)) for name in _OF_SCHEDULE}
    row["timezone"] = row["timezone"] or zone
    schedule = parse_schedule(job_id=job_id, **row)
    edit = await Edits(database=database).set_fields(
        job_id, values, actor=actor, seen=(job.version, job.updated_at), dry_run=dry_run
    )
    if edit is None:
        raise stale_row(job_id)
    return ScheduleEdit(
        job_id=job_id,
        before=edit,
        after={name: values[name] for name in edit},
        next_run_at=schedule.next_after(now),
        changed=bool(edit) and not dry_run,
    )


_OF_SCHEDULE = ("schedule_type", "schedule_expr", "timezone", "start_at", "end_at")


def value_of(name: str, text: str) -> object:
    """The value of a field as its column holds it. Raises `InputError`."""
    item = FIELDS.get(name)
    if item is None:
        remedy = "; use `piko pause` or `piko resume`" if name == "enabled" else did_you_mean(name, FIELDS)
        raise InputError(f"{name}: is no field to edit{remedy}; expected one of {', '.join(FIELDS)}")
    kind, limit = str(item.type), rule_of(item).limit
    if text == "null":
        if "None" not in kind:
            raise InputError(f"{name} = null: the field cannot be empty")
        return None
    try:
        value = _read(kind.removesuffix(" | None"), text)
    except ValueError:
        raise InputError(f"{name} = {text!r}: expected {_EXPECTED[kind.removesuffix(' | None')]}") from None
    wrong = _wrong(limit, value)
    if wrong is not None:
        raise InputError(f"{name} = {text!r}: {wrong}")
    return value


_EXPECTED = {
    "int": "a whole number",
    "float": "seconds, such as 90 or 0.5",
    "bool": "true or false",
    "datetime": "an instant with its offset, such as 2026-01-08T10:00:00Z",
    "str": "text",
}


def _read(kind: str, text: str) -> object:
    if kind == "int":
        return int(text)
    if kind == "float":
        number = float(text)
        if not isfinite(number):
            raise ValueError(text)
        return number
    if kind == "bool":
        if text.lower() not in _WORDS:
            raise ValueError(text)
        return _WORDS[text.lower()]
    if kind == "datetime":
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
        return moment.astimezone(UTC)
    return text


def _wrong(limit: Limit | None, value: Any) -> str | None:
    """What a column says of a value that it does not take; None: it takes it."""
    match limit:
        case Between(low=low, high=high) if not low <= value <= high:
            return f"expected {low} to {high}"
        case AboveZero() if not value > 0:
            return "expected more than 0"
        case OneOf(words=words) if value not in words:
            return f"expected {', '.join(words)}{did_you_mean(value, words)}"
        case Characters(most=most) if not 0 < len(value) <= most:
            return f"expected 1 to {most} characters"
        case _:
            return None


def fields_of(given: list[str]) -> dict[str, str]:
    """`FIELD=VALUE` of each, by field. Raises `RefusedError`."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name.strip() in found:
            raise RefusedError(f"--set = {text!r}: expected FIELD=VALUE, each field once")
        found[name.strip()] = value.strip()
    return found

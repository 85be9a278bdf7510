"""What a model of a resource cannot check by itself: the same words at `apply`, and for files.

The admission webhook refuses by these rules, and `piko validate` applies them without a cluster. A problem
begins with its field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from piko.core.types import BackfillPolicy
from piko.errors import ScheduleError
from piko.model.schedules import ScheduleOptions
from piko.model.schema_keys import key_warning
from piko.schedule import Schedule, count_instants, explain, jitter_warning, schedule_of_row
from piko.text import counted, error_text, excerpt, instant_text
from piko_operator.mapping import schedule_row
from piko_operator.resources import PikoSchedule

_MOST_ERRORS = 20
_AHEAD = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The result of a check: `problem` refuses, with the field at `path`; otherwise `note` describes."""

    problem: str | None = None
    path: tuple[str | int, ...] = ()
    note: str = ""
    warning: str | None = None


def schedule_of(resource: PikoSchedule, zone: str) -> Schedule:
    """The schedule of `resource`, in `zone` if it names no zone. Raises `ScheduleError`."""
    return schedule_of_row(schedule_row(resource, owner=None), timezone=zone)


def check_schedule(resource: PikoSchedule, *, zone: str, now: datetime) -> Checked:
    """Whether a schedule can be used: its zone exists, it fires, its jitter fits."""
    try:
        schedule = schedule_of(resource, zone)
        sentence = explain(schedule, now=now, count=1).sentence
    except ScheduleError as error:
        return Checked(problem=f"spec.schedule: {error}", path=("spec", "schedule"))
    row = schedule_row(resource, owner=None)
    try:
        warning = jitter_warning(schedule, jitter_s=row.jitter_s, coalesce=row.coalesce, since=now)
    except ScheduleError as error:
        return Checked(problem=f"spec.jitter: {error}", path=("spec", "jitter"))
    return Checked(note=sentence, warning=None if warning is None else f"spec.jitter: {warning}")


def check_config(config: Mapping[str, Any], schema: str) -> Checked:
    """Whether a config fits the JSON Schema that the job's code has published."""
    from jsonschema import Draft202012Validator  # only where a config is checked: it takes long to load

    try:
        document = json.loads(schema)
        errors = Draft202012Validator(document).iter_errors(config)
        found = sorted(islice(errors, _MOST_ERRORS), key=lambda error: error.json_path)
        warning = key_warning(document, config)
    except Exception as error:  # noqa: BLE001 anyone may have written the schema in the database
        why = f"spec.config: the schema published by replicas is unusable: {error_text(error)}"
        return Checked(problem=why, path=("spec", "config"))
    if not found:
        return Checked(note="valid", warning=None if warning is None else f"spec.config: {warning}")
    problems = [f"spec.config{error.json_path.removeprefix('$')}: {error.message}" for error in found]
    path = ("spec", "config", *found[0].absolute_path)
    return Checked(problem=excerpt("; ".join(problems)), path=path)


def surprises(new: PikoSchedule, old: PikoSchedule | None, *, zone: str, now: datetime) -> Sequence[str]:
    """What is worth knowing of a schedule that is about to be applied, and what the change does."""
    try:
        return tuple(_surprises(new, old, zone=zone, now=now))
    except ScheduleError:  # the schedule that is replaced could not be used
        return ()


def remarks_on(resource: PikoSchedule, *, zone: str, now: datetime) -> Sequence[str]:
    """What is worth knowing of a schedule, whatever it replaces. Raises `ScheduleError`."""
    return explain(schedule_of(resource, zone), now=now, count=0).remarks


def caught_up(
    new: PikoSchedule, *, stateful: bool, watermark: datetime | None, zone: str, now: datetime
) -> str | None:
    """What a schedule that is resumed makes up with its next due time; None: nothing.

    - `stateful`, `watermark`: what the code of its job says, and up to where its data is done.
    - `zone`: of a schedule that names none.
    """
    if not stateful or watermark is None:
        return None
    try:
        schedule = schedule_of(new, zone)
    except ScheduleError:
        return None
    missing = count_instants(schedule, after=watermark, through=now)
    if not missing:
        return None
    row = schedule_row(new, owner=None)
    since = f"resuming: {counted(missing, 'window')} since the watermark {instant_text(watermark)}"
    if row.backfill_policy == BackfillPolicy.SKIP:
        return f"{since}: the latest runs with the next due time, by backfill.policy Skip"
    kept = missing
    if row.max_lookback_s is not None:
        reach = now - timedelta(seconds=min(row.max_lookback_s, (now - watermark).total_seconds()))
        kept = max(count_instants(schedule, after=max(watermark, reach), through=now), 1)
    if row.backfill_max_windows is not None:
        kept = min(kept, row.backfill_max_windows)
    dropped = f"; {missing - kept} of them are given up by its bounds" if kept < missing else ""
    return f"{since} run with the next due time{dropped}"


def due_ahead(row: ScheduleOptions, *, zone: str, now: datetime) -> int:
    """How often the row is due in the next 7 days. Raises `ScheduleError`."""
    if not row.enabled:
        return 0
    return count_instants(schedule_of_row(row, timezone=zone), after=now, through=now + _AHEAD)


def _surprises(new: PikoSchedule, old: PikoSchedule | None, *, zone: str, now: datetime) -> Iterator[str]:
    yield from remarks_on(new, zone=zone, now=now)
    if old is None:
        return
    before, after = (due_ahead(schedule_row(each, owner=None), zone=zone, now=now) for each in (old, new))
    if before != after:
        yield f"due times in the next 7 days: {before} before this change, {after} after it"

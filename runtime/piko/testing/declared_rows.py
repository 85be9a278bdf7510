"""Rows as resource files declare them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from piko.errors import InputError, ManifestError
from piko.model.configs import ConfigRow
from piko.model.schedules import ScheduleOptions, ScheduleRow
from piko_operator.manifests import (
    SUFFIXES,
    Placed,
    explain,
    is_ours,
    load_manifests,
    parse_manifest,
    read_bytes,
    read_manifests,
)
from piko_operator.mapping import config_row, schedule_expression, schedule_row
from piko_operator.resources import Manifest, PikoJobConfig, PikoSchedule
from piko_operator.trigger_spec import TriggerSpec

Manifests = Path | str | Mapping[str, Any] | Iterable["Path | str | Mapping[str, Any]"]
"""A file or folder of resources, the text of some, a resource as a dict, or several of these."""


def resources_of(manifests: Manifests) -> Iterator[Manifest]:
    """The resources. Raises `ManifestError` with every problem, and `InputError` where a path has none."""
    if isinstance(manifests, Mapping):
        yield parse_manifest(manifests, "manifests")
    elif isinstance(manifests, str) and "\n" in manifests:
        yield from load_manifests(manifests, "manifests")
    elif isinstance(manifests, str | Path):
        yield from _of_path(Path(manifests))
    else:
        for each in manifests:
            yield from resources_of(each)


def files_of(folder: Path) -> list[Path]:
    """The files of `folder`, at any depth, that hold resources of Piko."""
    candidates = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    return [path for path in candidates if is_ours(read_bytes(path))]


def placed_in(path: Path) -> tuple[list[Placed], list[str]]:
    """The resources of a file, and its problems, each with its line."""
    contents = read_manifests(read_bytes(path), str(path))
    return list(contents.resources), [str(problem) for problem in contents.problems]


def _of_path(path: Path) -> Iterator[Manifest]:
    if not path.exists():
        raise InputError(f"manifests: there is no file or folder {path}")
    files = [path] if path.is_file() else files_of(path)
    if not files:
        raise InputError(f"manifests: {path} has no resource files ({', '.join(SUFFIXES)})")
    problems: list[str] = []
    for file in files:
        resources, found = placed_in(file)
        problems.extend(found)
        yield from (placed.resource for placed in resources)
    if problems:
        raise ManifestError("\n".join(problems))


def schedule_of(resource: PikoSchedule, *, now: datetime) -> ScheduleRow:
    """The row for `resource`, inserted `now`."""
    declared = asdict(schedule_row(resource, owner=None))
    declared.pop("managed_by")
    return inserted(declared, now=now)


def inserted(columns: Mapping[str, Any], *, now: datetime) -> ScheduleRow:
    """A row of these columns, inserted `now`."""
    return ScheduleRow(
        version=1, last_data_time=None, completed_at=None, created_at=now, updated_at=now, **columns
    )


def config_of(resource: PikoJobConfig, *, now: datetime) -> ConfigRow:
    """The row for `resource`, without what it takes from Secrets."""
    return ConfigRow(version=1, updated_at=now, **asdict(config_row(resource, owner=None)))


def edited_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of `scheduled_job`; `schedule={"cron": …}` is `spec.schedule` of a resource.

    Raises `InputError` if there is no such column, or the schedule is none.
    """
    edited = dict(columns)
    if "schedule" in edited:
        try:
            trigger = TriggerSpec.model_validate(edited.pop("schedule"))
        except ValidationError as error:
            raise InputError(f"schedule: {'; '.join(explain(error))}") from None
        kind, expression = schedule_expression(trigger)
        edited |= {"schedule_type": kind, "schedule_expr": json.dumps(expression)}
    known = [item.name for item in fields(ScheduleOptions) if item.name != "job_id"]
    for name in edited:
        if name not in known:
            raise InputError(
                f"scheduled_job has no column {name!r} to edit; it has schedule, {', '.join(known)}"
            )
    return edited

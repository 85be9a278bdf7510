"""Where resources, the rows of their jobs, and what is in force differ. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from piko.errors import ScheduleError
from piko.model.config_schema import HIDDEN
from piko.model.managed import ManagedSchedule
from piko.store.reports.job_rows import ConfigAsWritten, JobRows, ScheduleAsWritten
from piko.text import excerpt, instant_text
from piko_operator.from_rows import means_the_same
from piko_operator.mapping import config_row, schedule_row
from piko_operator.resources import Mirrored, PikoJobConfig, PikoSchedule

_LONGEST = 200
_OF_SCHEDULE = frozenset(("job_id", "schedule_type", "schedule_expr", "managed_by"))
_TABLES = {"PikoSchedule": "scheduled_job", "PikoJobConfig": "job_config"}
_ABSENT = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedResource:
    """A resource that is compared; `namespace` is None where its file names none."""

    resource: Mirrored
    namespace: str | None

    @property
    def name(self) -> str:
        """It, for people."""
        name = self.resource.metadata.name
        return name if self.namespace is None else f"{self.namespace}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDifference:
    """One field of which two things are said.

    - `resource`: namespace and name of the resource; None: there is none.
    - `declared`, `found`: what the resource says and what the row holds, or, of the field `in force`, what
      the row holds and what is in force.
    """

    job_id: str
    kind: str
    resource: str | None
    field: str
    declared: str
    found: str


def differences(declared: ComparedResource, rows: JobRows | None) -> Iterator[RowDifference]:
    """Where the resource, its row and what is in force differ."""
    resource = declared.resource
    row = None if rows is None else rows.schedule if isinstance(resource, PikoSchedule) else rows.config
    for field, wanted, found in _of_row(declared, row):
        yield RowDifference(
            job_id=resource.spec.job_id,
            kind=resource.kind,
            resource=declared.name,
            field=field,
            declared=_shown(wanted),
            found=_shown(found),
        )


def without_resource(
    declared: Sequence[ComparedResource], rows: Iterable[JobRows]
) -> Iterator[RowDifference]:
    """Rows of resources of the same cluster that are not among the `declared`.

    The cluster is known by a row that one of the `declared` owns; without one nothing is.
    """
    rows = list(rows)
    known = {(item.resource.kind, *_place(item)) for item in declared}
    owned = [
        (kind, item.job_id, str(row.managed_by).split("/"))
        for item in rows
        for kind, row in (("PikoSchedule", item.schedule), ("PikoJobConfig", item.config))
        if row is not None and row.managed_by is not None
    ]
    clusters = {owner[0] for kind, _, owner in owned if (kind, *owner[1:3]) in known}
    for kind, job_id, owner in owned:
        if owner[0] in clusters and (kind, *owner[1:3]) not in known:
            yield RowDifference(
                job_id=job_id,
                kind=kind,
                resource=None,
                field="resource",
                declared=_ABSENT,
                found=f"a row in {_TABLES[kind]} of {'/'.join(owner[1:3])}",
            )


def _place(item: ComparedResource) -> tuple[str, str]:
    return item.namespace or "", item.resource.metadata.name


def _of_row(
    declared: ComparedResource, row: ScheduleAsWritten | ConfigAsWritten | None
) -> Iterator[tuple[str, object, object]]:
    resource = declared.resource
    if row is None:
        yield "row", f"a row in {_TABLES[resource.kind]}", _ABSENT
        return
    owner = None if row.managed_by is None else row.managed_by.split("/")[1:3]
    mine = [declared.namespace, resource.metadata.name]
    if owner is None or owner[-1:] != mine[-1:] or (declared.namespace is not None and owner != mine):
        yield "managed_by", declared.name, "SQL" if owner is None else "/".join(owner)
    if isinstance(resource, PikoSchedule):
        assert isinstance(row, ScheduleAsWritten)
        yield from _of_schedule(resource, row)
        yield from _in_force(row.version, row.observed_version)
    else:
        assert isinstance(row, ConfigAsWritten)
        yield from _of_config(resource, row)
        yield from _in_force(row.version, row.observed_version)
        if row.error is not None:
            current = _ABSENT if row.revision_in_force is None else f"revision {row.revision_in_force}"
            yield "in force", f"revision {row.revision}", f"{current}; it is refused: {row.error}"


def _of_schedule(resource: PikoSchedule, row: ScheduleAsWritten) -> Iterator[tuple[str, object, object]]:
    wanted, present = schedule_row(resource, owner=None), row.row
    if not _same_schedule(wanted, present):
        yield "schedule_expr", _schedule_text(wanted), _schedule_text(present)
    for item in fields(wanted):
        said, held = getattr(wanted, item.name), getattr(present, item.name)
        if item.name not in _OF_SCHEDULE and said != held:
            yield item.name, said, held


def _same_schedule(wanted: ManagedSchedule, row: ManagedSchedule) -> bool:
    if (wanted.schedule_type, wanted.schedule_expr) == (row.schedule_type, row.schedule_expr):
        return True
    try:
        return means_the_same(wanted, row)
    except ScheduleError:
        return False


def _schedule_text(row: ManagedSchedule) -> str:
    return f"{row.schedule_type} {row.schedule_expr}"


def _of_config(resource: PikoJobConfig, row: ConfigAsWritten) -> Iterator[tuple[str, object, object]]:
    wanted = config_row(resource, owner=None)
    for name in ("schema_version", "effective_from"):
        if getattr(wanted, name) != getattr(row, name):
            yield name, getattr(wanted, name), getattr(row, name)
    yield from _of_value("config_json", json.loads(wanted.config_json), row.config)
    declares_secret = bool(resource.spec.config_from)
    if declares_secret != row.has_secret:  # what it holds is shown to nobody
        yield "secret_json", *((_ABSENT, "there is one") if row.has_secret else ("of configFrom", _ABSENT))


def _of_value(path: str, wanted: object, held: object) -> Iterator[tuple[str, object, object]]:
    if held == HIDDEN:  # it cannot be compared
        return
    if isinstance(wanted, Mapping) and isinstance(held, Mapping):
        for key in sorted({*wanted, *held}):
            inner = f"{path}.{key}"
            if key not in wanted:
                yield inner, _ABSENT, json.dumps(held[key], ensure_ascii=False)
            elif key not in held:
                yield inner, json.dumps(wanted[key], ensure_ascii=False), _ABSENT
            else:
                yield from _of_value(inner, wanted[key], held[key])
    elif wanted != held or isinstance(wanted, bool) != isinstance(held, bool):
        yield path, json.dumps(wanted, ensure_ascii=False), json.dumps(held, ensure_ascii=False)


def _in_force(version: int, observed: int | None) -> Iterator[tuple[str, object, object]]:
    if observed != version:
        yield (
            "in force",
            f"version {version} of the row",
            "nothing yet" if observed is None else f"version {observed}",
        )


def _shown(value: Any) -> str:
    """A value of a column for people."""
    if value is None:
        return _ABSENT
    text = (
        instant_text(value)
        if hasattr(value, "astimezone")
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
    return excerpt(text, limit=_LONGEST)

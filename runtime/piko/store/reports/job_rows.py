"""Rows of jobs as they were written, with what of them is in force: for those who compare and copy them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import select, union

from piko.model.config_schema import shown_config
from piko.model.managed import ManagedSchedule
from piko.model.revisions import RevisionMark, revision_in_force
from piko.model.schedules import ScheduleOptions
from piko.store.engine import Database
from piko.store.schema.column_types import Now
from piko.store.schema.declared import declared_instants
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.revisions import job_config_revision
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_MOST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleAsWritten:
    """A row of `scheduled_job`.

    - `columns`: what people write, by the names of the columns; in JSON an instant is a text.
    - `observed_version`: the version that the leader has taken up.
    - `stateful`: whether the code says so; None: no replica has registered the job.
    """

    columns: Mapping[str, Any]
    managed_by: str | None
    version: int
    observed_version: int | None
    paused_until: datetime | None
    last_data_time: datetime | None
    stateful: bool | None

    @property
    def row(self) -> ManagedSchedule:
        """Those columns that this release knows, with the owner."""
        known = {name: self.columns[name] for name in _WRITTEN if name in self.columns}
        for name in _INSTANTS:
            if isinstance(known.get(name), str):
                known[name] = datetime.fromisoformat(known[name])
        return ManagedSchedule(**known, managed_by=self.managed_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigAsWritten:
    """A row of `job_config` without its secret part.

    - `config`: with what is secret in it hidden, by the job's model or by its name.
    - `revision`: the newest that was made of the row, from version `observed_version`; `error` is why that
      never takes effect.
    - `revision_in_force`: None: the code's defaults are.
    """

    job_id: str
    schema_version: int
    config: Any
    effective_from: datetime | None
    updated_by: str | None
    managed_by: str | None
    version: int
    has_secret: bool
    revision: int | None
    observed_version: int | None
    revision_in_force: int | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRows:
    """The rows of one job; None: it has none in that table."""

    job_id: str
    schedule: ScheduleAsWritten | None
    config: ConfigAsWritten | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark(RevisionMark):
    row_version: int


class RowList:
    """Reads them, in four statements a page."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def of(self, job_ids: Collection[str]) -> list[JobRows]:
        """The rows of `job_ids`, or of all jobs, by job id; a job without any is left out."""
        found: list[JobRows] = []
        wanted = sorted(set(job_ids))
        if wanted:
            for start in range(0, len(wanted), _MOST):
                found += await self._rows(wanted[start : start + _MOST])
            return found
        page = await self.page(after=None, limit=_MOST)
        while page:
            found += page
            page = await self.page(after=page[-1].job_id, limit=_MOST)
        return found

    async def page(self, *, after: str | None, limit: int) -> list[JobRows]:
        """The first jobs after that id, at most `limit`."""
        each = [
            select(table.c.job_id)
            .where(*([] if after is None else [table.c.job_id > after]))
            .order_by(table.c.job_id)
            .limit(limit)
            .subquery()
            for table in (scheduled_job, job_config)
        ]
        ids = union(*(select(part.c.job_id) for part in each)).subquery()
        async with self._database.statements() as connection:
            statement = select(ids.c.job_id).order_by(ids.c.job_id).limit(limit)
            found = list((await connection.execute(statement)).scalars())
        return await self._rows(found)

    async def _rows(self, job_ids: Sequence[str]) -> list[JobRows]:
        if not job_ids:
            return []
        revisions = job_config_revision.c
        async with self._database.statements() as connection:
            schedules = {
                row.job_id: _schedule(row._asdict())
                for row in await connection.execute(_SCHEDULES.where(scheduled_job.c.job_id.in_(job_ids)))
            }
            configs = (await connection.execute(_CONFIGS.where(job_config.c.job_id.in_(job_ids)))).all()
            marks: dict[str, list[_Mark]] = {}
            statement = _REVISIONS.where(revisions.job_id.in_([row.job_id for row in configs]))
            for job_id, *values in await connection.execute(statement) if configs else ():
                mark = _Mark(**dict(zip(_MARKS, values, strict=True)))
                marks.setdefault(job_id, []).append(mark)
        written = {row.job_id: _config(row._asdict(), marks.get(row.job_id, [])) for row in configs}
        return [
            JobRows(job_id=job_id, schedule=schedules.get(job_id), config=written.get(job_id))
            for job_id in job_ids
            if job_id in schedules or job_id in written
        ]


def _schedule(row: Mapping[str, Any]) -> ScheduleAsWritten:
    rest = {name: row[name] for name in (*_OF_ROW, *_OF_OTHERS)}
    return ScheduleAsWritten(columns={name: row[name] for name in _WRITTEN}, **rest)


def _config(row: Mapping[str, Any], marks: Iterable[_Mark]) -> ConfigAsWritten:
    ordered = sorted(marks, key=lambda mark: mark.revision)
    newest, current = ordered[-1] if ordered else None, revision_in_force(ordered, row["now"])
    values = {name: row[name] for name in _OWN}
    return ConfigAsWritten(
        **values,
        config=shown_config(row["config_json"], row["config_schema"]),
        has_secret=row["has_secret"],
        revision=None if newest is None else newest.revision,
        observed_version=None if newest is None else newest.row_version,
        revision_in_force=None if current is None else current.revision,
        error=None if newest is None else newest.error,
    )


_WRITTEN = tuple(item.name for item in fields(ScheduleOptions))
_INSTANTS = declared_instants(ScheduleOptions)
_OF_ROW = ("managed_by", "version", "paused_until", "last_data_time")
_OF_OTHERS = ("observed_version", "stateful")
_SCHEDULES = (
    select(
        *(scheduled_job.c[name] for name in (*_WRITTEN, *_OF_ROW)),
        job_state.c.observed_version,
        job_definition.c.stateful,
    )
    .select_from(scheduled_job.outerjoin(job_state, job_state.c.job_id == scheduled_job.c.job_id))
    .outerjoin(job_definition, job_definition.c.job_id == scheduled_job.c.job_id)
)

_OWN = ("job_id", "schema_version", "effective_from", "updated_by", "managed_by", "version")
_CONFIGS = select(
    *(job_config.c[name] for name in (*_OWN, "config_json")),
    job_config.c.secret_json.is_not(None).label("has_secret"),
    job_definition.c.config_schema,
    Now().label("now"),
).select_from(job_config.outerjoin(job_definition, job_definition.c.job_id == job_config.c.job_id))

_MARKS = [item.name for item in fields(_Mark) if item.name != "has_secret"]
_REVISIONS = select(job_config_revision.c.job_id, *(job_config_revision.c[name] for name in _MARKS))

"""Rows as `change_log` knows them: which edit has its line, and which has none yet.

People edit `scheduled_job` and `job_config` by SQL, and nothing runs on the server that could say so. So for
each row its content is kept as of the last line about it. Where a row differs from that, somebody edited it
by SQL. Every writer that logs its own edits settles first, which gives the edits of others their line, and
then keeps what it has written: its edit is not found again. The leader settles what its reconciler has found.

To compare is to lock the kept content, and to keep the new one in the transaction of the line. So an edit has
one line, however many replicas saw it, and whatever happens to the one that wrote it. Rows are read after the
lock, so that nobody sees half an edit. Watermarks are for `audited_watermarks.py`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Table, and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.clock import SystemClock
from piko.identity import content_hash, id_at
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.model.managed import ManagedConfig, ManagedSchedule
from piko.model.row_edits import Content, RowEdit, row_edit
from piko.store.audited_watermarks import NOBODY, watermark_text
from piko.store.changes import RowLine, insert_changes
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.schema.tables.audited_rows import audited_row
from piko.store.schema.tables.changes import change_log
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state
from piko.store.upsert import write_rows
from piko.text import instant_text

Known = Mapping[str, Content | None]
"""By job: the row as `change_log` knows it; None: it knows of none."""

LINES_A_MINUTE = 5
"""How many edits by SQL of one row are said one by one within a minute."""
_CHUNK = 250
_MINUTE = timedelta(minutes=1)
_A_DAY = timedelta(days=1)
_HASHED = "secret_json"
_KEPT = audited_row.c
_NEW = ("content", "row_version", "row_written_at", "set_watermark")


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowNow:
    """A row as it is now."""

    content: Content
    row: Row[Any]


class AuditedRows:
    """The audited rows of one table; what takes a connection belongs into the caller's transaction."""

    def __init__(self, *, database: Database, table: Table) -> None:
        self._database = database
        self._table = table
        self._is_schedule = table is scheduled_job
        self._noun = "schedule" if self._is_schedule else "config"
        value = ManagedSchedule if self._is_schedule else ManagedConfig
        self._names = [item.name for item in fields(value) if item.name != "job_id"]
        also = [table.c.version, table.c.updated_at]
        if self._is_schedule:
            self._names.append("paused_until")
            also.append(table.c.last_data_time)
        self._columns = [table.c.job_id, *(table.c[name] for name in self._names), *also]

    @property
    def name(self) -> str:
        return self._table.name

    async def suspects(self) -> list[str]:
        """Jobs whose rows were written since they were compared, came, or went; of stateful ones more."""
        of_it = and_(_KEPT.table_name == self._table.name, _KEPT.job_id == self._table.c.job_id)
        as_compared = and_(
            _KEPT.row_version == self._table.c.version, _KEPT.row_written_at == self._table.c.updated_at
        )
        there = select(self._table.c.job_id).outerjoin(audited_row, of_it)
        went = select(_KEPT.job_id).outerjoin(self._table, _KEPT.job_id == self._table.c.job_id)
        async with self._database.statements() as connection:
            found = await connection.execute(
                there.where(or_(_KEPT.job_id.is_(None), _KEPT.content.is_(None), ~as_compared))
            )
            deleted = await connection.execute(
                went.where(_KEPT.table_name == self._table.name, self._table.c.job_id.is_(None))
            )
            return sorted({*found.scalars(), *deleted.scalars()})

    async def settle_edits(self, job_ids: Collection[str], fence: Fence, *, most_a_minute: int) -> set[str]:
        """Settle in a transaction of its own; the jobs that were put off. Raises `FencedError`."""
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            known = await self.settle(connection, job_ids, most_a_minute=most_a_minute)
        return set(job_ids) - known.keys()

    async def settle(
        self, connection: AsyncConnection, job_ids: Collection[str], *, most_a_minute: int | None = None
    ) -> Known:
        """Log what in the rows of `job_ids` has no line yet as edits by SQL; what is known since.

        - `most_a_minute`: a job that had as many such lines within a minute is put off, and is not in the
          answer: its edits become one line later.
        """
        known: dict[str, Content | None] = {}
        for chunk in chunks(job_ids, size=_CHUNK):
            before = await self._lock(connection, chunk)
            found = await self._read(connection, chunk)
            after = {job_id: found[job_id].content if job_id in found else None for job_id in chunk}
            edited = [key for key in chunk if before.get(key) != after[key]]
            edits = await self._edits(connection, edited, before, after)
            if most_a_minute is not None:
                busy = await _busy(connection, edits.keys(), most=most_a_minute)
                edited = [key for key in edited if key not in busy]
                after = {key: content for key, content in after.items() if key not in busy}
            now = SystemClock().now()
            lines: list[RowLine] = [
                (_by_sql(edits[key]), key, edits[key], _time_of(found.get(key), now))
                for key in edited
                if key in edits
            ]
            await insert_changes(connection, lines)
            await self._keep(connection, edited, found, before)
            known |= after
        return known

    async def log(
        self, connection: AsyncConnection, known: Known, actors: Mapping[str, Actor], *, logged: bool = True
    ) -> None:
        """Log what `actors` have done to the rows of their jobs, by job, since these were `known`.

        - `logged`: False if the caller has logged it with words of its own.
        """
        for chunk in chunks(actors.keys(), size=_CHUNK):
            found = await self._read(connection, chunk)
            after = {job_id: found[job_id].content if job_id in found else None for job_id in chunk}
            if logged:
                edits = await self._edits(connection, chunk, known, after)
                await insert_changes(connection, [(actors[key], key, edits[key], None) for key in edits])
            await self._keep(connection, chunk, found, known)

    async def edit(self, connection: AsyncConnection, job_id: str, known: Known) -> RowEdit | None:
        """What the caller has done to the row of `job_id` since it was `known`."""
        found = await self._read(connection, [job_id])
        after = {job_id: found[job_id].content if job_id in found else None}
        return (await self._edits(connection, [job_id], known, after)).get(job_id)

    async def _lock(self, connection: AsyncConnection, job_ids: Sequence[str]) -> dict[str, Content | None]:
        """What is kept of `job_ids`, locked until the transaction ends; None: nothing yet."""
        kept = await self._locked(connection, job_ids)
        if new := [job_id for job_id in job_ids if job_id not in kept]:
            ids = self._table.c.job_id
            there = sorted((await connection.execute(select(ids).where(ids.in_(new)))).scalars())
            rows = [{"table_name": self._table.name, "job_id": job_id} for job_id in there]
            await write_rows(connection, self._database, audited_row, rows)
            if there:  # another may have kept it meanwhile
                kept |= await self._locked(connection, there)
        return kept

    async def _locked(self, connection: AsyncConnection, job_ids: Sequence[str]) -> dict[str, Content | None]:
        statement = (
            select(_KEPT.job_id, _KEPT.content)
            .where(_KEPT.table_name == self._table.name, _KEPT.job_id.in_(job_ids))
            .order_by(_KEPT.job_id)
            .with_for_update()
        )
        rows = await connection.execute(statement)
        return {job_id: None if text is None else json.loads(text) for job_id, text in rows}

    async def _read(self, connection: AsyncConnection, job_ids: Sequence[str]) -> dict[str, _RowNow]:
        rows = await connection.execute(select(*self._columns).where(self._table.c.job_id.in_(job_ids)))
        return {row.job_id: _RowNow(content=self._content(row), row=row) for row in rows}

    def _content(self, row: Row[Any]) -> Content:
        content = {name: _plain(row._mapping[name]) for name in self._names}
        if content.get(_HASHED) is not None:
            content[_HASHED] = content_hash(str(content[_HASHED]))
        return content

    async def _edits(
        self, connection: AsyncConnection, job_ids: Sequence[str], before: Known, after: Known
    ) -> dict[str, RowEdit]:
        schemas: dict[str, Mapping[str, Any]] = {}
        if not self._is_schedule and job_ids:
            columns = job_definition.c
            rows = await connection.execute(
                select(columns.job_id, columns.config_schema).where(columns.job_id.in_(job_ids))
            )
            schemas = {job_id: json.loads(text or "{}") for job_id, text in rows}
        edits = {
            job_id: row_edit(self._noun, before.get(job_id), after.get(job_id), schema=schemas.get(job_id))
            for job_id in job_ids
        }
        return {job_id: edit for job_id, edit in edits.items() if edit is not None}

    async def _keep(
        self,
        connection: AsyncConnection,
        job_ids: Sequence[str],
        found: Mapping[str, _RowNow],
        before: Known,
    ) -> None:
        there = [job_id for job_id in job_ids if job_id in found]
        marks = await self._marks(connection, [item for item in there if before.get(item) is None], found)
        rows = [
            {
                "table_name": self._table.name,
                "job_id": job_id,
                "content": json.dumps(found[job_id].content, ensure_ascii=False),
                "row_version": found[job_id].row.version,
                "row_written_at": found[job_id].row.updated_at,
                "set_watermark": marks.get(job_id),
            }
            for job_id in there
        ]
        new = [row for row in rows if before.get(str(row["job_id"])) is None]
        old = [row for row in rows if before.get(str(row["job_id"])) is not None]
        await write_rows(connection, self._database, audited_row, new, update=_NEW)
        await write_rows(connection, self._database, audited_row, old, update=_NEW[:-1])
        if deleted := [job_id for job_id in job_ids if job_id not in found]:
            of_them = and_(_KEPT.table_name == self._table.name, _KEPT.job_id.in_(deleted))
            await connection.execute(delete(audited_row).where(of_them))

    async def _marks(
        self, connection: AsyncConnection, new: Sequence[str], found: Mapping[str, _RowNow]
    ) -> dict[str, str]:
        """Watermarks that new rows came with and that are still to be copied: the line of the row says it."""
        brought = {
            job_id: found[job_id].row.last_data_time
            for job_id in (new if self._is_schedule else ())
            if found[job_id].row.last_data_time is not None
        }
        if not brought:
            return {}
        columns = job_state.c
        copied = await connection.execute(
            select(columns.job_id, columns.data_through).where(columns.job_id.in_(sorted(brought)))
        )
        there = {job_id: moment for job_id, moment in copied}  # noqa: C416
        return {key: watermark_text(moment) for key, moment in brought.items() if there.get(key) != moment}


def audited_schedules(database: Database) -> AuditedRows:
    return AuditedRows(database=database, table=scheduled_job)


def audited_configs(database: Database) -> AuditedRows:
    return AuditedRows(database=database, table=job_config)


async def _busy(connection: AsyncConnection, job_ids: Collection[str], *, most: int) -> set[str]:
    """Those of `job_ids` that SQL has edited so often within the last minute."""
    if not job_ids:
        return set()
    columns = change_log.c
    statement = (
        select(columns.job_id)
        .where(
            columns.job_id.in_(sorted(job_ids)),
            columns.change_id >= id_at(SystemClock().now() - _MINUTE),
            columns.via == "sql",
        )
        .group_by(columns.job_id)
        .having(func.count() >= most)
    )
    return set((await connection.execute(statement)).scalars())


def _by_sql(edit: RowEdit) -> Actor:
    said = (edit.after or {}).get("updated_by")  # by their own account
    return Actor(who=str(said) if said else NOBODY, via="sql")


def _time_of(found: _RowNow | None, now: datetime) -> datetime:
    """When the row was written, if it says so."""
    if found is None or not now - _A_DAY < found.row.updated_at <= now:
        return now
    moment: datetime = found.row.updated_at
    return moment


def _plain(value: object) -> object:
    return instant_text(value) if isinstance(value, datetime) else value

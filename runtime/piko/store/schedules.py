"""`scheduled_job` as the runtime reads it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from datetime import datetime

from sqlalchemy import select

from piko.model.digests import Digest, Recent
from piko.model.schedules import ScheduleRow
from piko.store.chunks import chunks
from piko.store.digests import read_digests, read_recent
from piko.store.engine import Database
from piko.store.pages import PageReader, Values
from piko.store.schema.tables.schedules import scheduled_job

_CHUNK = 250
_NAMES = tuple(field.name for field in fields(ScheduleRow))
_COLUMNS = [scheduled_job.c[name] for name in _NAMES]


class ScheduleStore:
    """Reads schedules; the runtime's only writes to them are the watermark and `completed_at` (runs.py)."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._reader = PageReader(_COLUMNS)

    async def page(self, *, after: str) -> list[ScheduleRow]:
        """The next rows, in the order of their jobs, that follow the job `after`: the first ones follow "".

        There are none after the last one.
        """
        async with self._database.statements() as connection:
            return [_row(values) for values in await self._reader.page(connection, after=after)]

    async def digests(self) -> dict[str, Digest]:
        """The digest of every row: a comparison with it sees edits, late commits and deletes alike."""
        async with self._database.statements() as connection:
            return await read_digests(connection, scheduled_job)

    async def recent(self, *, since: datetime, checksum: bool) -> Recent | None:
        """What was written at or after `since`, and the tally of all rows, with a checksum if asked for.

        None where the database cannot sum up a table.
        """
        async with self._database.statements() as connection:
            return await read_recent(connection, scheduled_job, since=since, checksum=checksum)

    async def read(self, job_ids: Collection[str]) -> list[ScheduleRow]:
        """The rows of `job_ids`, without those that were deleted meanwhile."""
        found: list[ScheduleRow] = []
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_CHUNK):
                rows = await connection.execute(select(*_COLUMNS).where(scheduled_job.c.job_id.in_(chunk)))
                found.extend(_row(tuple(row)) for row in rows)
        return found


def _row(values: Values) -> ScheduleRow:
    return ScheduleRow(**dict(zip(_NAMES, values, strict=True)))

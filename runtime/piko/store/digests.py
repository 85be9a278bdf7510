"""How a table is compared with what is known of it: in pages, and first by one number for all of it.

Where the server can sum up a table, an unchanged one costs one row.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Table, func, null, select, type_coerce, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.model.digests import Digest, Mark, Recent, Tally
from piko.store.pages import PageReader
from piko.store.schema.column_types import Now


async def read_mark(connection: AsyncConnection, table: Table) -> Mark | None:
    """The table in one row, over job id, version and time of each; None on SQLite, which has no checksum."""
    if connection.dialect.name == "sqlite":
        return None
    text = func.concat_ws("/", table.c.job_id, table.c.version, table.c.updated_at)
    statement = select(func.count(), func.sum(func.crc32(text)), func.max(table.c.updated_at))
    return tuple((await connection.execute(statement)).one())


async def read_recent(
    connection: AsyncConnection, table: Table, *, since: datetime, checksum: bool
) -> Recent | None:
    """The digests of rows written at or after `since`, and the tally of all, in one statement.

    An index over time and version makes the tally a scan of that index, and `checksum` doubles what it costs.
    None on SQLite, which has no checksum and no need of it.
    """
    if connection.dialect.name == "sqlite":
        return None
    number = type_coerce(null(), BigInteger)
    text = func.concat_ws("/", table.c.job_id, table.c.version, func.unix_timestamp(table.c.updated_at))
    rows = select(
        table.c.job_id, table.c.version, table.c.updated_at, number.label("rows"), number.label("sum")
    )
    tally = select(
        null(),
        func.coalesce(func.sum(table.c.version), 0),
        Now(),
        func.count(),
        func.coalesce(func.sum(func.crc32(text)), 0) if checksum else null(),
    ).select_from(table)
    found = await connection.execute(union_all(rows.where(table.c.updated_at >= since), tally))
    *written, whole = found.all()
    return Recent(
        at=whole.updated_at,
        digests={row.job_id: (row.version, row.updated_at) for row in written},
        tally=Tally(
            rows=whole.rows,
            versions=int(whole.version),
            checksum=None if whole.sum is None else int(whole.sum),
        ),
    )


async def read_digests(connection: AsyncConnection, table: Table) -> dict[str, Digest]:
    """The digest of every row: a comparison with it sees edits, late commits and deletes alike."""
    reader = PageReader((table.c.job_id, table.c.version, table.c.updated_at))
    found: dict[str, Digest] = {}
    async for page in reader.pages(connection):
        found.update((job_id, (version, updated_at)) for job_id, version, updated_at in page)
    return found

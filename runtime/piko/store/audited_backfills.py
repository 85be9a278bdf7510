"""States of backfills that people set by SQL, and their lines in `change_log`.

`audited_state` is the state as `change_log` knows it. Who changes a state, and logs it or ends the backfill,
writes both; where they differ, a statement has set the state. The leader looks for such rows, and who locks a
row to change it settles that row first. Either happens under the row's lock, with the line, in one
transaction: so each edit has one line, whatever happens to the one that writes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, func, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import BackfillState
from piko.model.backfills import OPEN_STATES
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.model.row_edits import RowEdit
from piko.store.audited_watermarks import NOBODY
from piko.store.changes import RowLine, insert_changes
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.held_rows import lock_free
from piko.store.schema.tables.backfills import backfill

AUDITED = [backfill.c[name] for name in ("backfill_id", "job_id", "state", "audited_state")]
"""What is read of a row, under its lock, to settle it."""
CHANGE = "change_backfill"
MOST = 100
"""In one look; the next look goes on."""
_KNOWN = backfill.c.audited_state
_EDITED = or_(
    _KNOWN.is_(None),
    # State by state, each of which is a range of the index: backfills are kept, and most have ended.
    *(
        and_(_KNOWN.in_([known]), backfill.c.state.in_(sorted(set(BackfillState) - {known})))
        for known in BackfillState
    ),
)


class AuditedBackfills:
    """What the leader settles. Raises `FencedError`."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def settle_edits(self, fence: Fence, *, now: datetime) -> list[str]:
        """Log what SQL has set; the ids of those backfills.

        One that somebody holds waits for the next look.
        """
        ids = backfill.c.backfill_id
        async with self._database.statements() as connection:
            edited = sorted((await connection.execute(select(ids).where(_EDITED).limit(MOST))).scalars())
        if not edited:
            return []
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            rows = await lock_free(connection, AUDITED, ids.in_(edited))
            return await settle_states(connection, rows, now=now)


async def settle_states(connection: AsyncConnection, rows: Sequence[Row[Any]], *, now: datetime) -> list[str]:
    """Log what SQL has set in `rows`, which are locked; the ids of those backfills.

    An edit gets what an act would have written with it. A row of which nothing is known yet, as after an
    upgrade, is known since, and has no line.
    """
    by_state: dict[tuple[str, bool], list[str]] = defaultdict(list)
    lines: list[RowLine] = []
    for row in rows:
        if row.state == row.audited_state:
            continue
        by_state[row.state, row.audited_state is None].append(row.backfill_id)
        if row.audited_state is not None:
            edit = state_edit(row.backfill_id, before=row.audited_state, after=row.state)
            lines.append((Actor(who=NOBODY, via="sql"), row.job_id, edit, None))
    for (state, is_new), ids in by_state.items():
        values: dict[str, Any] = {"audited_state": state}
        if not is_new:
            ended = func.coalesce(backfill.c.finished_at, now)
            values |= {"message": None, "finished_at": null() if state in OPEN_STATES else ended}
        await connection.execute(update(backfill).where(backfill.c.backfill_id.in_(ids)).values(values))
    await insert_changes(connection, lines)
    return [str(edit.after["backfill_id"]) for _, _, edit, _ in lines if edit.after]


def state_edit(backfill_id: str, *, before: str, after: str) -> RowEdit:
    """The change of a state, as `change_log` has it."""
    of_it = {"backfill_id": backfill_id}
    return RowEdit(what=CHANGE, before={**of_it, "state": before}, after={**of_it, "state": after})

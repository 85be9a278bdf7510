"""`backfill`: requests to run the windows of a range, and how far each has come.

A request keeps the schedule that it was made with, so that its windows stay those that were shown when it
was asked for. The leader claims windows in order: the runs and `next_start`, which says how far it came, are
one transaction under the fence. No `job_lock` is taken and no watermark moved, so live runs of the same
windows are not in the way, nor is a backfill in theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime

from sqlalchemy import and_, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import BackfillState, RunState
from piko.model.backfills import OPEN_STATES, Backfill, BackfillStep
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.model.runs import Outcome, Run
from piko.store.audited_backfills import AUDITED, CHANGE, settle_states, state_edit
from piko.store.changes import insert_changes, insert_logged, log_change
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.fences import fenced
from piko.store.held_rows import held_keys, lock_free, rows_locked
from piko.store.run_rows import run_row
from piko.store.schema.tables.backfills import backfill
from piko.store.schema.tables.runs import job_run
from piko.store.upsert import write_rows

_NAMES = tuple(field.name for field in fields(Backfill))
_LOGGED = ("backfill_id", "range_start", "range_end", "parallelism", "windows_total")
_CHUNK = 1000
_COLUMNS = [backfill.c[name] for name in _NAMES]


class BackfillStore:
    """Requests as people make and change them, and as the leader works them off."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    # ---- people -----------------------------------------------------------------------------------

    async def create(self, request: Backfill, *, actor: Actor) -> None:
        """Ask for `request`; the leader begins within a poll."""
        values = {name: getattr(request, name) for name in _NAMES if name != "created_at"}
        logged = {name: values[name] for name in _LOGGED}
        row = {**values, "audited_state": request.state}
        await insert_logged(self._database, backfill, row, actor, "backfill", logged=logged)

    async def matching(self, beginning: str) -> list[Backfill]:
        """The requests whose id begins so, at most ten."""
        statement = select(*_COLUMNS).where(backfill.c.backfill_id.startswith(beginning, autoescape=True))
        return await self._select(statement.order_by(backfill.c.created_at.desc()).limit(10))

    async def newest(
        self, *, job_id: str | None = None, before: str | None = None, limit: int = 20
    ) -> list[Backfill]:
        """The newest requests first: of that job, and behind the one with the id `before`, where given."""
        columns = backfill.c
        ordered = select(*_COLUMNS).order_by(columns.created_at.desc(), columns.backfill_id.desc())
        statement = ordered.limit(limit)
        if job_id is not None:
            statement = statement.where(columns.job_id == job_id)
        if before is not None:
            of_it = columns.backfill_id == before
            at = select(columns.created_at).where(of_it).scalar_subquery()
            same = and_(columns.created_at == at, columns.backfill_id < before)
            statement = statement.where(or_(columns.created_at < at, same))
        return await self._select(statement)

    async def of_ids(self, backfill_ids: Collection[str]) -> dict[str, Backfill]:
        """The requests of these ids, by id."""
        found: dict[str, Backfill] = {}
        for chunk in chunks(backfill_ids, size=_CHUNK):
            rows = await self._select(select(*_COLUMNS).where(backfill.c.backfill_id.in_(chunk)))
            found |= {item.backfill_id: item for item in rows}
        return found

    async def running(self) -> Counter[str]:
        """How many windows of each request run now."""
        # By the index of states: a request may have ended a hundred thousand runs, and few run at once.
        statement = select(job_run.c.backfill_id).where(job_run.c.state == RunState.RUNNING)
        async with self._database.statements() as connection:
            found = (await connection.execute(statement)).scalars()
            return Counter(str(backfill_id) for backfill_id in found if backfill_id is not None)

    async def set_parallelism(self, request: Backfill, parallelism: int, *, actor: Actor) -> None:
        """Run so many of its windows at once from now on."""
        of_it = {"backfill_id": request.backfill_id}
        async with self._database.transaction() as connection:
            is_it = backfill.c.backfill_id == request.backfill_id
            row = (await connection.execute(select(*AUDITED).where(is_it).with_for_update())).first()
            if row is None or row.state not in OPEN_STATES:
                return
            await connection.execute(update(backfill).where(is_it).values(parallelism=parallelism))
            before = {**of_it, "parallelism": request.parallelism}
            after = {**of_it, "parallelism": parallelism}
            await log_change(connection, actor, CHANGE, job_id=request.job_id, before=before, after=after)

    async def change_state(
        self,
        request: Backfill,
        *,
        to: BackfillState,
        of: Collection[BackfillState],
        now: datetime,
        actor: Actor,
    ) -> bool:
        """Pause, resume or cancel; False where its state is none of `of`."""
        values: dict[str, object] = {"state": to, "audited_state": to, "message": None}
        if to is BackfillState.CANCELLED:
            values["finished_at"] = now
        async with self._database.transaction() as connection:
            is_it = backfill.c.backfill_id == request.backfill_id
            row = (await connection.execute(select(*AUDITED).where(is_it).with_for_update())).first()
            if row is None or row.state not in of:
                return False
            await settle_states(connection, [row], now=now)
            await connection.execute(update(backfill).where(is_it).values(values))
            edit = state_edit(request.backfill_id, before=row.state, after=to)
            await insert_changes(connection, [(actor, request.job_id, edit, None)])
            return True

    # ---- the leader -------------------------------------------------------------------------------

    async def open(self) -> list[Backfill]:
        """What is active or paused, the oldest first."""
        statement = (
            select(*_COLUMNS)
            .where(backfill.c.state.in_(OPEN_STATES))
            .order_by(backfill.c.created_at, backfill.c.backfill_id)
        )
        return await self._select(statement)

    async def claim(self, steps: Sequence[BackfillStep], fence: Fence, *, now: datetime) -> dict[str, Run]:
        """Take the steps; the runs that are ours, by id. Raises `FencedError`.

        A step of a request that is not active any more, or that somebody holds, is left out. Made again
        after an unknown COMMIT, a step finds what its first try wrote.
        """
        taken: list[Run] = []
        async with fenced(self._database, fence) as connection:
            for step in sorted(steps, key=lambda item: item.backfill_id):
                if await _advance(connection, step):
                    taken.extend(step.runs)
            if taken:
                rows = [run_row(run, fence, now=now) for run in taken]
                await write_rows(connection, self._database, job_run, rows)
        return {run.run_id: run for run in taken}

    async def explain(self, messages: Mapping[str, str | None], fence: Fence) -> None:
        """Say of each request why nothing of it runs; None: nothing is in its way. Raises `FencedError`."""
        async with fenced(self._database, fence) as connection:
            ids = backfill.c.backfill_id
            for (backfill_id,) in await lock_free(connection, [ids], ids.in_(sorted(messages))):
                message = messages[backfill_id]
                await connection.execute(
                    update(backfill).where(backfill.c.backfill_id == backfill_id).values(message=message)
                )

    async def _select(self, statement: object) -> list[Backfill]:
        async with self._database.statements() as connection:
            rows = await connection.execute(statement)  # type: ignore[call-overload]
            return [_backfill(row._mapping) for row in rows]


async def lock_backfills(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """Lock the requests that `outcomes` belong to, before the runs of either are touched, and settle them.

    Raises `RowsLockedError` where somebody holds one.
    """
    ids = {outcome.run.backfill_id for outcome in outcomes if outcome.run.backfill_id is not None}
    if ids:
        rows = await lock_free(connection, AUDITED, backfill.c.backfill_id.in_(sorted(ids)))
        if held := await held_keys(connection, backfill.c.backfill_id, ids - {row[0] for row in rows}):
            raise rows_locked(item.run.job_id for item in outcomes if item.run.backfill_id in held)
        await settle_states(connection, rows, now=outcomes[-1].finished_at)


async def count_ends(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """Count the windows that `outcomes` end without a retry; none of these outcomes was written before.

    A backfill ends when every window has ended.
    """
    succeeded: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome.run.backfill_id is not None and outcome.retry is None:
            ended_well = outcome.state is RunState.SUCCESS
            (succeeded if ended_well else failed)[outcome.run.backfill_id] += 1
    columns = backfill.c
    for backfill_id in sorted({*succeeded, *failed}):
        await connection.execute(
            update(backfill)
            .where(columns.backfill_id == backfill_id)
            .values(
                windows_succeeded=columns.windows_succeeded + succeeded[backfill_id],
                windows_failed=columns.windows_failed + failed[backfill_id],
            )
        )
        all_ended = columns.windows_succeeded + columns.windows_failed >= columns.windows_total
        how = case(
            (columns.windows_failed > 0, BackfillState.FAILED.value), else_=BackfillState.SUCCEEDED.value
        )
        await connection.execute(
            update(backfill)
            .where(columns.backfill_id == backfill_id, columns.state.in_(OPEN_STATES), all_ended)
            .values(state=how, audited_state=how, finished_at=outcomes[-1].finished_at, message=None)
        )


async def _advance(connection: AsyncConnection, step: BackfillStep) -> bool:
    statement = select(backfill.c.state, backfill.c.next_start)
    row = (
        await connection.execute(
            statement.where(backfill.c.backfill_id == step.backfill_id).with_for_update(skip_locked=True)
        )
    ).first()
    if row is None or row.state != BackfillState.ACTIVE:
        return False
    if row.next_start == step.to:
        return await _has_written(connection, step)
    if row.next_start != step.since:
        return False
    await connection.execute(
        update(backfill).where(backfill.c.backfill_id == step.backfill_id).values(next_start=step.to)
    )
    return True


async def _has_written(connection: AsyncConnection, step: BackfillStep) -> bool:
    found = await connection.execute(select(job_run.c.run_id).where(job_run.c.run_id == step.runs[0].run_id))
    return found.scalar_one_or_none() is not None


def _backfill(row: Mapping[str, object]) -> Backfill:
    values = dict(row)
    values["state"] = BackfillState(str(values["state"]))
    return Backfill(**values)  # type: ignore[arg-type]
